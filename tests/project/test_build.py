"""`bacpack build`: a release is what the sources say, or there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.harness import Command, assemble

CONFIG = """\
[modules]
{name} = "greet.wasm"

[build]
blobs = ["job.wasm"]
output = "out"
"""
GREET = '(module (func (export "six") (result i32) i32.const 6))'
JOB = """(module (import "greet" "six" (func $six (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
  (func (export "_start") (call $exit (call $six))))"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose program ends with the number that its module gives."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "greet.wasm").write_bytes(assemble(GREET))
    (folder / "job.wasm").write_bytes(assemble(JOB))
    (folder / "bacpack.toml").write_text(CONFIG.format(name="greet"))
    return folder


@pytest.mark.parametrize("verb", ["build", "ci"])
def test_a_name_that_nothing_provides_is_an_error(command: Command, project: Path, verb: str) -> None:
    (project / "bacpack.toml").write_text(CONFIG.format(name="gret"))
    done = command(verb, cwd=project)
    text = done.stderr.decode()
    assert (done.returncode, "error[unlinked-import]" in text) == (2, True), text
    assert "nothing provides `six` of `greet`" in text
    assert "did you mean `gret`?" in text
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("module", "code"),
    [
        (GREET.replace("six", "seven"), "missing-export"),
        (GREET.replace("i32", "i64"), "type-mismatch"),
    ],
    ids=["missing", "type"],
)
def test_what_could_not_run_is_not_built(command: Command, project: Path, module: str, code: str) -> None:
    (project / "greet.wasm").write_bytes(assemble(module))
    text = command.fails(2, code, "build", cwd=project)
    assert "greet" in text
    assert not (project / "out").exists()


def test_what_is_provided_is_built_and_runs(command: Command, project: Path) -> None:
    assert command("build", cwd=project).returncode == 0
    assert command("publish", ".", cwd=project).returncode == 0
    [app] = json.loads((project / "out" / "bacpack.json").read_text())["apps"]
    assert command("run", "--offline", app["cid"]).returncode == 6
