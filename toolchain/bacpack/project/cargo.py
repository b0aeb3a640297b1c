"""Building crates with cargo: which there are, for which target, and what is missing where it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bacpack.decode import decode_json, decode_toml
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import read_file

#: What shared modules are built for: they call no host.
MODULE_TARGET = "wasm32-unknown-unknown"
#: What cargo and rustc say when the standard library for a target is not there.
_NO_TARGET = ("target may not be installed", "can't find crate for `std`", "can't find crate for `core`")
#: The name by which older compilers know a target.
OLDER_NAMES = {"wasm32-wasip1": "wasm32-wasi"}
#: What cargo says of a project that a later Rust can build.
_TOO_OLD = re.compile(
    r"this version of Cargo (is older|does not understand)|requires rustc|feature `edition|`resolver` setting"
)


@dataclass(frozen=True, slots=True)
class Package:
    """A crate of the workspace."""

    name: str
    folder: Path
    #: Names of the programs in it.
    bins: tuple[str, ...]
    #: The name of the library that is linked as a file of its own, if there is one.
    library: str | None
    has_build_script: bool


@dataclass(frozen=True)
class Cargo:
    """Cargo, in the folder of a workspace; `CARGO` names another than the one in `PATH`."""

    folder: Path
    command: str

    @classmethod
    def find(cls, folder: Path) -> Cargo:
        """Find cargo; raises `InputError` (`no-cargo`) when there is none."""
        named = os.environ.get("CARGO") or "cargo"
        command = shutil.which(named)
        if command is None:
            raise InputError(
                "no-cargo",
                f"`{named}` cannot be found, and `{folder}` is built with it",
                hint="install Rust: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
            )
        return cls(folder, command)

    def ask(self, *arguments: str) -> str:
        """Return what a cargo command prints; raises `CheckFailedError` (`cargo-failed`)."""
        done = subprocess.run(
            [self.command, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise _why(done.stderr, "", arguments[0])
        return done.stdout

    def packages(self) -> list[Package]:
        """The crates of the workspace, in the order of its `members`."""
        described = decode_json(self.ask("metadata", "--no-deps", "--format-version", "1"))
        packages = [_package(entry) for entry in described["packages"]]
        order = {folder: number for number, folder in enumerate(_members(self.folder))}
        return sorted(packages, key=lambda entry: (order.get(entry.folder, len(order)), entry.name))

    def build(
        self,
        packages: Sequence[Package],
        what: str,
        target: str,
        *,
        options: Sequence[str],
        say: Callable[[str], object],
    ) -> dict[str, Path]:
        """Build crates, their programs (`what` is `--bins`) or libraries (`--lib`); return the files by name.

        `say` gets what cargo says, line by line. Raises `InputError` (`no-rust-target`), `CheckFailedError`
        (`cargo-failed`).
        """
        command = [self.command, "build", "--release", "--target", target, what, "--message-format"]
        command += ["json-render-diagnostics", *(f"--package={package.name}" for package in packages)]
        command += self._remapping(target, has_build_script=any(package.has_build_script for package in packages))
        command += options
        said: list[str] = []
        with tempfile.TemporaryFile("w+") as answers:
            with subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=answers, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stderr is not None
                for line in process.stderr:
                    said.append(line)
                    say(line.rstrip("\n"))
            if process.returncode != 0:
                raise _why("".join(said), target)
            answers.seek(0)
            return dict(_built(answers))

    def _remapping(self, target: str, *, has_build_script: bool) -> list[str]:
        """Options that leave no folder of this machine in what is built.

        As configuration, they add to what the workspace configures; as a variable they would replace it.
        """
        if os.environ.get("CARGO_ENCODED_RUSTFLAGS") or os.environ.get("RUSTFLAGS"):
            # Cargo then ignores what is configured: whoever sets these decides.
            return []
        home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
        folders = {home: "/cargo", **dict.fromkeys(self.sysroots, "/rust")}
        if has_build_script:
            # The crates themselves are compiled by relative paths, but what a script generates is not.
            folders[str(self.folder.resolve())] = "."
        flags = [f"--remap-path-prefix={folder}={name}" for folder, name in folders.items()]
        return ["--config", f"target.{target}.rustflags={json.dumps(flags)}"]

    @cached_property
    def sysroots(self) -> list[str]:
        """Where the compiler and the sources of its library are; their paths stand in what is built."""
        questions = [
            [os.environ.get("RUSTC") or "rustc", "--print", "sysroot"],
            # Of a cargo that builds the standard library itself; others do not understand the question.
            [self.command, "rustc", "--offline", "-Zunstable-options", "--print", "sysroot"],
        ]
        found = []
        with _with_crate(self.folder) as folder:
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


def _package(entry: Mapping[str, Any]) -> Package:
    kinds = [(target["kind"], target["name"]) for target in entry["targets"]]
    return Package(
        entry["name"],
        Path(entry["manifest_path"]).parent,
        tuple(name for kind, name in kinds if "bin" in kind),
        next((name for kind, name in kinds if "cdylib" in kind), None),
        any("custom-build" in kind for kind, _ in kinds),
    )


def _members(folder: Path) -> Iterator[Path]:
    """Folders of the crates as the workspace lists them."""
    manifest = decode_toml(read_file(folder / "Cargo.toml"))
    for member in manifest.get("workspace", {}).get("members", []):
        yield from sorted(path.resolve() for path in folder.glob(member))


def _built(answers: Any) -> Iterator[tuple[str, Path]]:
    for line in answers:
        entry = decode_json(line)
        if entry.get("reason") == "compiler-artifact":
            for file in entry["filenames"]:
                if file.endswith(".wasm"):
                    yield entry["target"]["name"], Path(file)


def _why(said: str, target: str, verb: str = "build") -> Exception:
    older = OLDER_NAMES.get(target)
    if any(text in said for text in _NO_TARGET):
        return InputError(
            "no-rust-target",
            f"this Rust cannot build for {target}: its standard library for that is not installed",
            hint=f"rustup target add {target}",
            details={"target": target},
        )
    if "is not installed" in said and "toolchain" in said:
        return InputError(
            "no-rust-toolchain",
            "the Rust that rust-toolchain.toml names is not installed",
            hint="rustup toolchain install",
            details={"stderr": said[-4000:]},
        )
    if older and ("Could not find specification for target" in said or "could not find specification" in said):
        return InputError(
            "no-rust-target",
            f"this Rust is too old to know {target}",
            hint=f"rustup update, or write {older} for {target} in bacpack.toml and .cargo/config.toml "
            f"(in a new project: bacpack new --target {older})",
            details={"target": target},
        )
    return _failed(verb, said)


def _failed(what: str, said: str) -> CheckFailedError:
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    reason = next((line for line in lines if line.startswith("error")), lines[-1])
    hint = "mend what cargo says above"
    if "--locked" in said:
        hint = "bring Cargo.lock up to date: cargo update --workspace"
    elif too_old := _TOO_OLD.search(said):
        reason = next(line for line in lines if too_old[0] in line)
        hint = "rustup update: a later Rust builds this"
    elif "--emit-relocs" in said and "SIGSEGV" in said:
        # LLVM before 17.
        reason = "the linker of this Rust crashes on --emit-relocs"
        hint = (
            "rustup update; or take it out for programs in .cargo/config.toml: they are then split without relocations"
        )
    return CheckFailedError(
        "cargo-failed", f"cargo {what} failed: {reason}", hint=hint, details={"stderr": said[-4000:]}
    )
