"""What tests of projects share: the real command, cargo where it is at hand, and programs in C that share a module."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.harness import Command
from wanting import RUST, cargo, skip

REPOSITORY = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "sources"
#: What cargo compiles stays here, as after a build: where std comes as source, that alone takes minutes.
TARGET_FOLDER = REPOSITORY / "build" / "cargo"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    found = Command(tmp_path / "home")
    for name in [name for name in found.environment if name.startswith(("GITHUB_", "CI_", "GITLAB_", "BACPACK_CI"))]:
        del found.environment[name]
    return found


@dataclass(frozen=True)
class Rust:
    """A Rust that builds templates."""

    cargo: str
    #: What programs are built for: compilers before 1.78 know WASI by another name.
    target: str = "wasm32-wasip1"


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Rust:
    """The Rust of this machine; what it lacks for a project is installed, where rustup can."""
    found = cargo()
    project = tmp_path_factory.mktemp("toolchain") / "probe"
    bacpack = [sys.executable, "-m", "bacpack.cli"]
    subprocess.run([*bacpack, "new", "probe", "--path", project], capture_output=True, check=True)
    doctor = [*bacpack, "doctor", "--fix", "--json"]
    done = subprocess.run(doctor, cwd=project, env={**os.environ, "CARGO": found}, capture_output=True, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    if checks.get("wasm32-unknown-unknown", {}).get("status") == "ok":
        if checks["wasm32-wasip1"]["status"] == "ok":
            return Rust(found)
        if "wasm32-wasi" in checks["wasm32-wasip1"]["found"]:
            return Rust(found, "wasm32-wasi")
    return skip(RUST)


class RustCommand(Command):
    """The command with a cargo, and time for it to compile the standard library once."""

    def __init__(self, home: Path, toolchain: Rust) -> None:
        super().__init__(home)
        self.target = toolchain.target
        self.environment |= {"CARGO": toolchain.cargo, "CARGO_TARGET_DIR": str(TARGET_FOLDER)}

    def run(self, *arguments: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.line(*arguments), cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=900,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert not check or done.returncode == 0, done.stderr
        return done


@pytest.fixture
def rust(tmp_path: Path, toolchain: Rust) -> RustCommand:
    return RustCommand(tmp_path / "home", toolchain)


def zig(*arguments: str | Path, cwd: Path) -> None:
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LINK_OPTIONS = ("--no-entry", "--emit-relocs", "--strip-debug", "--stack-first", "-zstack-size=16384")


@pytest.fixture(scope="session")
def built_c(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program in C, and the library that it calls, with its relocations."""
    folder = tmp_path_factory.mktemp("c")
    zig("cc", "--target=wasm32-wasi", "-Os", "-s", SOURCES / "job.c", "-o", "job.wasm", cwd=folder)
    zig("cc", "--target=wasm32-freestanding", "-Os", "-c", SOURCES / "greet.c", "-o", "greet.o", cwd=folder)
    zig("wasm-ld", *LINK_OPTIONS, "greet.o", "-o", "greet.wasm", cwd=folder)
    zig("wasm-ld", "--no-entry", "greet.o", "-o", "plain.wasm", "--strip-all", cwd=folder)
    return folder


def change_module(project: Path) -> None:
    """Compile the library anew, from another source."""
    source = (SOURCES / "greet.c").read_text()
    assert '{"!", "?", "..."}' in source
    (project / "greet.c").write_text(source.replace('{"!", "?", "..."}', '{"!!", "??", "..."}'))
    zig("cc", "--target=wasm32-freestanding", "-Os", "-c", "greet.c", "-o", "greet.o", cwd=project)
    zig("wasm-ld", *LINK_OPTIONS, "greet.o", "-o", "greet.wasm", cwd=project)


CONFIG = """\
[modules]
greet = "greet.wasm"

[build]
blobs = ["job.wasm"]
output = "out"
"""


@pytest.fixture
def c_project(tmp_path: Path, built_c: Path) -> Path:
    """A project of these two: no cargo is needed to build it."""
    folder = tmp_path / "project"
    shutil.copytree(built_c, folder)
    (folder / "bacpack.toml").write_text(CONFIG)
    return folder
