"""How this bacpack was installed: where its other files lie, and which line adds an extra to it.

`bacpack` is the name of another project on the public index. So no line that bacpack prints takes it from there: what
is named is where this installation came from, as its installer noted it (PEP 610).
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bacpack.decode import decode_json

if TYPE_CHECKING:
    from importlib.metadata import Distribution

#: What the distribution is called; the command and the package are `bacpack`.
DISTRIBUTION = "bacpack-wasm"


#: Packages without which an extra is not there.
EXTRAS = {
    "node": ("uvicorn", "starlette", "cachetools", "cryptography", "prometheus_client", "psutil"),
    "dask": ("distributed",),
    "sign": ("cryptography",),
}


def has_extra(extra: str) -> bool:
    """Whether what an extra brings is installed."""
    return all(map(find_spec, EXTRAS[extra]))


def shipped(name: str) -> Path:
    """A file or folder that lies in the root of a clone, and within the package once that is installed."""
    package = Path(__file__).resolve().parent
    return package / name if (package / name).exists() else package.parents[1] / name


def line_for_extra(extra: str) -> str:
    """The line for a shell that installs what an extra needs, beside what is installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        # Run from the sources as they lie.
        clone = Path(__file__).resolve().parents[2]
        return shlex.join([sys.executable, "-m", "pip", "install", "--editable", f"{clone}[{extra}]"])
    return shlex.join(_line(found, extra))


def line_for_package(requirement: str) -> str:
    """The line for a shell that installs or replaces a package beside this one."""
    from importlib.metadata import distributions

    by_uv = any((found.read_text("INSTALLER") or "").strip() == "uv" for found in distributions(name=DISTRIBUTION))
    program = ["uv", "pip", "install", "--python", sys.prefix] if by_uv else [sys.executable, "-m", "pip", "install"]
    return shlex.join([*program, "--upgrade", requirement])


def _line(found: Distribution, extra: str) -> list[str]:
    """The words of the line, for the program that installed this."""
    prefix = Path(sys.prefix)
    by_uv = (found.read_text("INSTALLER") or "").strip() == "uv"
    # These make an environment anew: with all extras, so that none is lost that is there.
    if (prefix / "pipx_metadata.json").is_file():
        return ["pipx", "install", "--force", *_requirement(found, "all")]
    if (prefix / "uv-receipt.toml").is_file():
        return ["uv", "tool", "install", "--force", *_requirement(found, "all")]
    if by_uv and prefix.parent.name.startswith("archive-"):  # in the cache, where `uvx` makes them
        return ["uvx", "--from", *_requirement(found, "all"), "bacpack"]
    if by_uv:
        return ["uv", "pip", "install", "--python", sys.prefix, *_requirement(found, extra)]
    return [sys.executable, "-m", "pip", "install", *_requirement(found, extra)]


def _requirement(found: Distribution, extra: str) -> list[str]:
    """What to install, as pip, pipx and uv take it."""
    name = f"{DISTRIBUTION}[{extra}]"
    noted = found.read_text("direct_url.json")
    if noted is None:
        return [f"{name}=={found.version}"]
    origin = decode_json(noted)
    url: str = origin["url"]
    if origin.get("dir_info", {}).get("editable"):
        return ["--editable", f"{unquote(urlsplit(url).path)}[{extra}]"]
    if "vcs_info" in origin:
        # pip before 24 takes no requirement from a repository whose URL names no host.
        url = url.replace("file:///", "file://localhost/")
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if "subdirectory" in origin:
        url += f"#subdirectory={origin['subdirectory']}"
    return [f"{name} @ {url}"]
