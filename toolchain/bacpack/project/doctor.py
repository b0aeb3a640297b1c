"""What a machine has to build and run with: each check says what it found, and what fixes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from bacpack import __version__
from bacpack.advisories import SAFE, known_holes
from bacpack.errors import BacpackError
from bacpack.folders import data_folder
from bacpack.installed import EXTRAS, has_extra, line_for_extra, line_for_package
from bacpack.project.languages.cargo import MODULE_TARGET, OLDER_NAMES, Cargo
from bacpack.project.settings.config import Project, load_project
from bacpack.project.settings.lock_file import LOCK_NAME, UrlLock
from bacpack.wasm_tools import wasm_tools

Status: TypeAlias = Literal["ok", "missing", "optional"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what came."""

    name: str
    status: Status
    found: str
    #: The line that fixes it, for a shell.
    mend: str | None = None
    #: Whether `--fix` may run that line.
    by_itself: bool = False


def examine(folder: Path) -> Iterator[Check]:
    """Yield every check, for a project in `folder` if there is one."""
    yield Check("bacpack", "ok", f"{__version__}, Python {sys.version.split()[0]}")
    yield _engine()
    yield _wasm_tools()
    yield _store()
    try:
        project = load_project(folder)
    except BacpackError as error:
        yield Check("bacpack.toml", "missing", error.message, error.hint)
        project = Project()
    else:
        found = str(project.path) if project.path else "none: this is no project"
        yield Check("bacpack.toml", "ok" if project.path else "optional", found)
    if project.path:
        yield _lock(project)
    needs_rust: Status = "missing" if (project.folder / "Cargo.toml").is_file() else "optional"
    yield from _rust(project, needs_rust)
    yield _tool("cc, for build scripts", _says("cc", "--version"), "apt-get install gcc", "optional")
    yield _tool("git", _says("git", "--version"), "apt-get install git", "optional")
    yield _tool(
        "zig (C and C++)", "installed" if find_spec("ziglang") else None, line_for_package("ziglang"), "optional"
    )
    # It notes each of its runs in the folder for configuration.
    go = _says("env", f"XDG_CONFIG_HOME={os.devnull}", "go", "version")
    yield _tool("go", go, "https://go.dev/dl", "optional")
    for extra in EXTRAS:
        yield _tool(extra, "installed" if has_extra(extra) else None, line_for_extra(extra), "optional")


def _engine() -> Check:
    found, holes = version("wasmtime"), known_holes()
    if not holes:
        return Check("wasmtime", "ok", found)
    named = ", ".join(f"{hole.advisory} ({hole.what})" for hole in holes)
    return Check(
        "wasmtime", "missing", f"{found} lets programs reach what they were not given: {named}", line_for_package(SAFE)
    )


def _tool(name: str, found: str | None, mend: str, otherwise: Status) -> Check:
    return Check(name, "ok", found) if found else Check(name, otherwise, "not found", mend)


def _says(*command: str) -> str | None:
    """The first line that a command prints, None where it cannot be run."""
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else None


def _wasm_tools() -> Check:
    try:
        found = wasm_tools()
    except BacpackError as error:
        return Check("wasm-tools", "missing", error.message, error.hint)
    return Check("wasm-tools", "ok", f"{found.version}, {found.path}")


def _store() -> Check:
    folder = data_folder()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(above, os.W_OK):
        return Check("store", "ok", str(folder))
    return Check("store", "missing", f"`{folder}` cannot be written", "set BACPACK_HOME to a folder of yours")


def _lock(project: Project) -> Check:
    lock = UrlLock(project.folder / LOCK_NAME)
    try:
        names = ", ".join(lock.modules()) or "no module"
    except BacpackError as error:
        return Check(LOCK_NAME, "missing", error.message, error.hint)
    if lock.modules().keys() != project.tables.modules.keys():
        return Check(LOCK_NAME, "optional", f"names {names}; the project has others", "bacpack build")
    return Check(LOCK_NAME, "ok", names)


def _rust(project: Project, otherwise: Status) -> Iterator[Check]:
    try:
        cargo = Cargo.find(project.folder)
        yield Check("cargo", "ok", cargo.ask("--version").strip())
    except BacpackError as error:
        yield Check("cargo", otherwise, error.message, error.hint)
        return
    roots = _sysroots(cargo)
    for target in (project.tables.build.target, MODULE_TARGET):
        if _has_target(roots, target):
            yield Check(target, "ok", "installed")
        elif (older := OLDER_NAMES.get(target)) and _has_target(roots, older):
            mend = f"write {older} for it in bacpack.toml and .cargo/config.toml" if project.path else None
            yield Check(
                target, otherwise, f"an older Rust: it has {older}", mend or f"bacpack new NAME --target {older}"
            )
        else:
            with_rustup = shutil.which("rustup") is not None
            mend = f"rustup target add {target}" if with_rustup else f"install Rust by rustup, which has {target}"
            yield Check(target, otherwise, "no standard library for it", mend, by_itself=with_rustup)


def _has_target(roots: Sequence[str], target: str) -> bool:
    """Whether there is a standard library for a target, built or to be built."""
    if any(any(Path(root, "lib", "rustlib", target, "lib").glob("libstd-*")) for root in roots):
        return True
    # Only a cargo that builds the library itself answers from a compiler of its own.
    return any(Path(root, "lib/rustlib/src/rust/library/std").is_dir() for root in roots[1:])


def _sysroots(cargo: Cargo) -> list[str]:
    """Where compilers and the sources of their libraries are."""
    questions = [
        [os.environ.get("RUSTC") or "rustc", "--print", "sysroot"],
        # Of a cargo that builds the standard library itself; others do not understand the question.
        [cargo.command, "rustc", "--offline", "-Zunstable-options", "--print", "sysroot"],
    ]
    found = []
    with _with_crate(cargo.folder) as folder:
        for question in questions:
            try:
                done = subprocess.run(question, cwd=folder, capture_output=True, text=True, check=False)
            except OSError:
                continue
            found += [done.stdout.strip()] if done.returncode == 0 and done.stdout.strip() else []
    return list(dict.fromkeys(found))


@contextmanager
def _with_crate(folder: Path) -> Iterator[Path]:
    """A folder in which cargo answers: this one, or one with an empty crate."""
    packages = folder / "Cargo.toml"
    if packages.is_file() and "[package]" in packages.read_text(encoding="utf-8"):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="bacpack-") as scratch:
        empty = Path(scratch)
        (empty / "Cargo.toml").write_text('[package]\nname = "empty"\nversion = "0.1.0"\nedition = "2021"\n')
        (empty / "src").mkdir()
        (empty / "src" / "lib.rs").touch()
        for name in ("rust-toolchain.toml", "rust-toolchain"):
            if (folder / name).is_file():
                (empty / name).write_bytes((folder / name).read_bytes())
        yield empty
