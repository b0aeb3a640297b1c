"""The wheel in an environment that holds nothing else, by pip, pipx and uv: every guide, and every hint that installs.

There is no network: packages come from a folder, in which another project lies under the name of the command.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import soak
import wheelhouse
from test_dist import WHEEL, build, copy_of_sources
from test_guides import FOLLOW, GUIDES, REPOSITORY, follow
from wanting import skip

__all__ = ["follow"]

EXTRAS = ("node", "dask", "sign")
#: What lacks an extra, by the extra: a command, and the code of the error.
WANTING = {
    "node": (("node", "serve", "--store", "node"), "no-node"),
    "dask": (("submit", "out/one.wasm"), "no-dask"),
    "sign": (("split", "one.wasm", "-o", "signed", "--key", "key.pem"), "no-cryptography"),
}


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that bacpack and its extras need, and somebody else's `bacpack`."""
    folder = tmp_path_factory.mktemp("wheel house")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [text for name in EXTRAS for text in project["optional-dependencies"][name]]
    wheelhouse.fill(folder, [*project["dependencies"], *extras])
    with zipfile.ZipFile(folder / "bacpack-9.9-py3-none-any.whl", "w") as other:
        other.writestr("bacpack-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: bacpack\nVersion: 9.9\n")
        other.writestr("bacpack-9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        other.writestr("bacpack-9.9.dist-info/RECORD", "")
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` builds, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("a release")
    built = build(copy_of_sources(folder / "sources"), 0o022, 1_600_000_000, "UTC")
    (folder / WHEEL).write_bytes(built[WHEEL])
    return folder / WHEEL


class Machine:
    """Somebody's machine without a network, and the bacpack on it."""

    def __init__(self, folder: Path, house: Path) -> None:
        self.folder = folder
        self.line = ["bacpack"]
        self.programs = folder / "bin"
        tools = folder / "tools"
        tools.mkdir(parents=True)
        for name in ("pipx", "uv", "uvx"):
            (tools / name).symlink_to(Path(sys.executable).parent / name)
        self.environment = {
            "PATH": f"{self.programs}:{tools}:/usr/bin:/bin",
            "HOME": str(folder), "LANG": "C.UTF-8", "XDG_CACHE_HOME": str(folder / "cache"),
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": house.as_uri(), "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": house.as_uri(), "UV_PYTHON": sys.executable,
            "UV_NO_CONFIG": "1", "UV_TOOL_BIN_DIR": str(self.programs), "UV_PYTHON_DOWNLOADS": "never",
            "PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(self.programs), "USE_EMOJI": "0",
            "PIPX_DEFAULT_PYTHON": sys.executable,
        }  # fmt: skip

    def run(self, *words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*map(str, words)], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{words}\n{done.stdout}{done.stderr}"
        return done

    def bacpack(self, *arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(*self.line, *arguments, status=status)

    def extras(self) -> set[str]:
        """What `doctor` finds."""
        checks = json.loads(self.bacpack("doctor", "--json").stdout)["checks"]
        return {check["name"] for check in checks if check["status"] == "ok"} & set(EXTRAS)

    def hint(self, extra: str) -> str:
        """What a command says that lacks an extra."""
        arguments, code = WANTING[extra]
        (self.folder / "key.pem").touch()
        shutil.copyfile(REPOSITORY / "tests" / "data" / "golden" / "one.wasm", self.folder / "one.wasm")
        if not (self.folder / "out").exists():
            self.bacpack("split", "one.wasm", "-o", "out", "--quiet")
        done = self.bacpack(*arguments, status=2)
        assert f"error[{code}]" in done.stderr
        return re.findall("^hint: (.*)$", done.stderr, re.MULTILINE)[0]

    def follow(self) -> dict[str, str]:
        """Follow the guides; return those that lack something, and what."""
        environment = {**os.environ, **self.environment}
        line = [sys.executable, FOLLOW, "--programs", self.programs]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{done.stderr}\nfix the guides; `python docs/follow.py --write` sets figures"
        return dict(re.findall(r"^not run: \S*?([\w-]+)\.md, for want of (.*)$", done.stderr, re.MULTILINE))


@pytest.fixture
def machine(tmp_path: Path, house: Path) -> Machine:
    return Machine(tmp_path / "a home", house)


def by_pip(machine: Machine, wheel: Path, extras: str = "") -> None:
    machine.run(sys.executable, "-m", "venv", machine.folder / "venv")
    machine.run(machine.folder / "venv" / "bin" / "pip", "install", "--quiet", f"{wheel}{extras}")
    machine.programs.symlink_to(machine.folder / "venv" / "bin")


def by_pipx(machine: Machine, wheel: Path) -> None:
    machine.run("pipx", "install", "--quiet", wheel)


def by_uv(machine: Machine, wheel: Path) -> None:
    machine.run("uv", "tool", "install", "--quiet", wheel)


def by_uvx(machine: Machine, wheel: Path) -> None:
    machine.line = ["uvx", "--from", str(wheel), "bacpack"]


def needs(*programs: str) -> None:
    lacking = [name for name in programs if shutil.which(name, path=str(Path(sys.executable).parent)) is None]
    assert not lacking, f"{', '.join(lacking)} is missing: `make test` installs it"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_guide_holds_with_all_extras(machine: Machine, wheel: Path) -> None:
    by_pip(machine, wheel, "[all]")
    if lacking := machine.follow():
        skip(", ".join(sorted(set(lacking.values()))))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_without_extras_the_other_guides_hold_and_hints_bring_them(
    machine: Machine, wheel: Path, tmp_path: Path, follow: ModuleType
) -> None:
    by_pip(machine, wheel)
    assert machine.extras() == set()
    with follow.Shell(tmp_path / "shell", machine.programs, 60) as shell:
        lacking = {guide.stem: shell.lacks(guide.read_text()) for guide in GUIDES if "rust" not in guide.parts}
    without = {guide for guide, what in lacking.items() if any("the extra" in name for name in what)}
    if soak.TIMES > 1:
        assert without <= machine.follow().keys()
    assert without == {"fetch", "provenance", "node", "node-jobs", "peers", "scheduling"}
    hints = {extra: machine.hint(extra) for extra in EXTRAS}
    for extra, line in hints.items():
        machine.run(*shlex.split(line))
        assert extra in machine.extras()
    assert "bacpack " not in machine.run(machine.programs / "pip", "list").stdout


@pytest.mark.parametrize("install", [by_pipx, by_uv, by_uvx])
def test_a_hint_of_each_installer_brings_what_is_lacking(
    machine: Machine, wheel: Path, install: Callable[[Machine, Path], None]
) -> None:
    needs("pipx", "uv", "uvx")
    install(machine, wheel)
    assert machine.extras() == set()
    for extra in EXTRAS:
        line = machine.hint(extra)
        assert "bacpack-wasm[all] @ file:" in line
    words = shlex.split(line)
    if words[0] == "uvx":
        machine.line = words
    else:
        machine.run(*words)
    assert machine.extras() == set(EXTRAS)
    if soak.TIMES > 1 and install is not by_uvx:
        (machine.programs / "wasm-tools").symlink_to(Path(sys.executable).parent / "wasm-tools")
        if lacking := machine.follow():
            skip(", ".join(sorted(set(lacking.values()))))
