"""What a project's pipeline installs: this bacpack as a wheel, and every package that it needs, all by hash.

A pipeline holds tokens, so nothing in it is taken by name alone. The wheel goes into the project: it is there whether
or not the machine that runs the pipeline can reach where this bacpack came from.
"""

from __future__ import annotations

import io
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from bacpack import __version__
from bacpack.installed import DISTRIBUTION, shipped

_NAME = f"{DISTRIBUTION.replace('-', '_')}-{__version__}"
_WHEEL = "Wheel-Version: 1.0\nGenerator: bacpack new\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_COMMAND = "[console_scripts]\nbacpack = bacpack.cli:main\n"
#: The earliest that a zip file can say; the same files give the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def pipeline_files() -> Iterator[tuple[str, bytes]]:
    """Yield the files below `ci/` of a project: path and content."""
    pinned = (shipped("templates") / "requirements.txt").read_text(encoding="utf-8")
    wheel = _wheel()
    path = f"ci/{_NAME}-py3-none-any.whl"
    yield path, wheel
    yield "ci/requirements.txt", f"{pinned}./{path} \\\n    --hash=sha256:{sha256(wheel).hexdigest()}\n".encode()


def _wheel() -> bytes:
    """The packages as they are here."""
    info = f"{_NAME}.dist-info"
    files = dict(_packages())
    files |= {f"{info}/METADATA": _metadata().encode(), f"{info}/WHEEL": _WHEEL.encode()}
    files |= {f"{info}/entry_points.txt": _COMMAND.encode()}
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, _TIME)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _metadata() -> str:
    """What is said of the distribution; of sources that were never installed only which one it is."""
    try:
        noted = distribution(DISTRIBUTION).read_text("METADATA")
    except PackageNotFoundError:
        noted = None
    return noted or f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {__version__}\n"


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def _packages() -> Iterator[tuple[str, bytes]]:
    """Yield the files of both packages, and what lies beside them in a clone and within them in a wheel."""
    import bacnode
    import bacpack

    assert bacpack.__file__ and bacnode.__file__
    parts = {"bacpack": Path(bacpack.__file__).parent, "bacnode": Path(bacnode.__file__).parent}
    parts |= {f"bacpack/{name}": shipped(name) for name in ("templates", "LICENSE")}
    found: dict[str, Path] = {}
    for prefix, root in parts.items():
        for path in [root] if root.is_file() else root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found["/".join((prefix, *path.relative_to(root).parts))] = path
    for name in sorted(found):
        yield name, found[name].read_bytes()
