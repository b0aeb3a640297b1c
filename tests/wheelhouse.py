"""A folder of wheels to install from without a network: the packages that are installed here, packed again."""

from __future__ import annotations

import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from email.parser import Parser
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: What an installer adds to what it unpacks.
_NOTED = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json"}


def fill(folder: Path, wanted: list[str]) -> None:
    """Write the wheels of these requirements, and of all that they need, to a folder."""
    for found in needed([Requirement(text) for text in wanted]):
        pack(found, folder)


def needed(wanted: list[Requirement]) -> Iterator[Distribution]:
    """Every distribution that these requirements lead to, once."""
    seen: set[tuple[str, frozenset[str]]] = set()
    names: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found = distribution(name)
        if name not in names:
            names.add(name)
            yield found
        for further in map(Requirement, found.requires or []):
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                wanted.append(further)


def pack(found: Distribution, folder: Path) -> None:
    """Write one distribution as the wheel that it came from, but for the scripts that its installer made."""
    files = {path.as_posix(): Path(str(path.locate())).read_bytes() for path in found.files or [] if _is_packed(path)}
    [info] = {path.split("/")[0] for path in files if path.split("/")[0].endswith(".dist-info")}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    tags = Parser().parsestr(files[f"{info}/WHEEL"].decode()).get_all("Tag") or []
    with zipfile.ZipFile(folder / f"{info.removesuffix('.dist-info')}-{_joined(tags)}.whl", "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, data)


def _is_packed(path: PurePosixPath) -> bool:
    return path.parts[0] != ".." and "__pycache__" not in path.parts and path.name not in _NOTED


def _joined(tags: list[str]) -> str:
    """Several tags as a file's name has them: `py3-none-any`, or their parts joined by dots."""
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*(tag.split("-") for tag in tags), strict=True))


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def is_here(name: str) -> bool:
    """Whether a distribution is installed."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
