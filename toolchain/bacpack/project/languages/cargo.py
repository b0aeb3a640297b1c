"""Building crates with cargo: which there are, for which target, and what is missing where it fails."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bacpack.decode import DecodeError, decode_json, decode_toml
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import read_file
from bacpack.project.languages.compiler_flags import VARIABLE, InForce, joined, read_answer, write_question
from bacpack.project.settings.config import CONFIG_NAME

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
    #: Of those, the ones that need a feature which is not on by default.
    optional: frozenset[str]
    #: The name of the library that is linked as a file of its own, if there is one.
    library: str | None
    #: Whether cargo builds it when it is not told what to build.
    is_default: bool


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
            errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise _why(done.stderr, "", arguments[0])
        return done.stdout

    @cached_property
    def _described(self) -> dict[str, Any]:
        said = self.ask("metadata", "--no-deps", "--format-version", "1")
        try:
            described: dict[str, Any] = decode_json(said)
        except DecodeError as error:
            raise _failed("metadata", f"error: what it printed is no JSON: {error}") from error
        return described

    @property
    def target_folder(self) -> Path:
        """Where cargo writes to."""
        return Path(self._described.get("target_directory") or self.folder / "target")

    @cached_property
    def packages(self) -> list[Package]:
        """The crates of the workspace, in the order of its `members`."""
        root = Path(self._described.get("workspace_root") or self.folder)
        try:
            workspace = decode_toml(read_file(root / "Cargo.toml")).get("workspace", {})
        except DecodeError as error:
            raise InputError("bad-config", f"`{root / 'Cargo.toml'}`: {error}", hint="fix the file") from error
        order = {folder: number for number, folder in enumerate(_folders(root, workspace.get("members", [])))}
        chosen = set(_folders(root, workspace.get("default-members", [])))
        packages = [_package(entry, chosen) for entry in self._described["packages"]]
        return sorted(packages, key=lambda entry: (order.get(entry.folder, len(order)), entry.name))

    def build(
        self,
        packages: Sequence[Package],
        what: Sequence[str],
        target: str,
        *,
        options: Sequence[str],
        say: Callable[[str], object],
    ) -> dict[str, Path]:
        """Build crates, their programs (`what` is `--bins`, or some by name) or libraries (`--lib`); return the files.

        They are returned by name. `say` gets what cargo says, line by line. Raises `InputError` (`no-rust-target`),
        `CheckFailedError` (`cargo-failed`).
        """
        modules = "--lib" in what
        arguments = ["build", "--release", "--target", target, *what, "--message-format", "json-render-diagnostics"]
        arguments += [*(f"--package={package.name}" for package in packages), *options]
        theirs = self._in_force(target, [option for option in options if option == "--offline"])
        flags = joined(theirs, target, self._folders_to_hide(theirs), modules=modules)
        return dict(_built(self._messages(arguments, target, {VARIABLE: flags}, say), "cdylib" if modules else "bin"))

    def _in_force(self, target: str, options: Sequence[str]) -> InForce:
        """What cargo says is set for a target."""
        folder = self.target_folder / ".bacpack"
        question = ["build", "--manifest-path", str(write_question(folder / "asks")), "--target", target]
        question += ["--target-dir", str(folder / "target"), "--message-format", "json-render-diagnostics", *options]
        return read_answer(self._messages(question, target, {}, lambda line: None))

    def _messages(
        self, arguments: Sequence[str], target: str, variables: Mapping[str, str], say: Callable[[str], object]
    ) -> list[str]:
        said: list[str] = []
        with tempfile.TemporaryFile("w+", errors="replace") as answers:
            with subprocess.Popen(
                [self.command, *arguments], cwd=self.folder, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
                stdout=answers, stderr=subprocess.PIPE, text=True, errors="replace",
            ) as process:  # fmt: skip
                assert process.stderr is not None
                for line in process.stderr:
                    said.append(line)
                    say(line.rstrip("\n"))
            if process.returncode != 0:
                raise _why("".join(said), target)
            answers.seek(0)
            # A script around cargo may print text of its own.
            return [line for line in answers if line.startswith("{")]

    def _folders_to_hide(self, theirs: InForce) -> list[tuple[str, str]]:
        """Folders of this machine, each with what is to stand in what is built in its place.

        Crates of the workspace are compiled by relative paths; those beside it, and what build scripts generate, by
        whole ones. Of two folders that hold a file the later one counts.
        """
        root = self.folder.resolve()
        above = [(folder, "/".join([".."] * count)) for count, folder in enumerate(root.parents[:-1], 1)]
        home = self.folder.absolute() / (os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
        folders = [*reversed(above), (root, "."), (self.target_folder.resolve(), "/target"), (home, "/cargo")]
        named = [(str(folder), name) for folder, name in folders]
        return [*named, (theirs.sysroot, "/rust")] if theirs.sysroot else named


def _package(entry: Mapping[str, Any], chosen: set[Path]) -> Package:
    folder = Path(entry["manifest_path"]).parent.resolve()
    targets = [(target["kind"], target) for target in entry["targets"]]
    bins = [target for kind, target in targets if "bin" in kind]
    on = _features(entry)
    return Package(
        entry["name"],
        folder,
        tuple(target["name"] for target in bins),
        frozenset(target["name"] for target in bins if not on.issuperset(target.get("required-features", []))),
        next((target["name"] for kind, target in targets if "cdylib" in kind), None),
        not chosen or folder in chosen,
    )


def _features(entry: Mapping[str, Any]) -> set[str]:
    """The features of a crate that are on by default."""
    on: set[str] = set()
    waiting = ["default"]
    while waiting:
        if (name := waiting.pop()) not in on:
            on.add(name)
            waiting += entry.get("features", {}).get(name, [])
    return on


def _folders(root: Path, members: Sequence[str]) -> Iterator[Path]:
    """Folders of crates, as a workspace lists them."""
    for member in members:
        # `.` is one as well, which the method of a path refuses.
        yield from (Path(root, path).resolve() for path in sorted(glob.glob(member, root_dir=root)))  # noqa: PTH207


def _built(messages: Iterable[str], kind: str) -> Iterator[tuple[str, Path]]:
    for line in messages:
        entry = decode_json(line)
        if entry.get("reason") == "compiler-artifact" and kind in entry["target"]["kind"]:
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
    if ("is not installed" in said and "toolchain" in said) or "could not download file from" in said:
        return InputError(
            "no-rust-toolchain",
            "the Rust that rust-toolchain.toml names is not installed",
            hint="rustup toolchain install; or, where an installed Rust serves, pin none",
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
    hint = "fix what cargo says above"
    if '(bin "' in said:
        hint += f", or leave out a program that is for this machine alone: `exclude` below [build] in {CONFIG_NAME}"
    if "--locked" in said:
        hint = "bring Cargo.lock up to date: cargo update --workspace"
    elif too_old := _TOO_OLD.search(said):
        reason = next(line for line in lines if too_old[0] in line)
        hint = "rustup update: a later Rust builds this"
    elif "--emit-relocs" in said and "SIGSEGV" in said:
        # LLVM before 17.
        reason = "the linker of this Rust crashes on --emit-relocs"
        hint = "rustup update: later ones do not; for wasm32-wasi, leave it out of .cargo/config.toml"
    elif "linker `cc` not found" in said:
        hint = "install a C compiler, by which cargo links what it runs itself: apt-get install gcc"
    return CheckFailedError(
        "cargo-failed", f"cargo {what} failed: {reason}", hint=hint, details={"stderr": said[-4000:]}
    )
