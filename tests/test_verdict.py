"""A module is told to be malformed, or to use what is too new, wherever it is looked at: the same everywhere."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bacpack.verdict import why_invalid
from bacpack.wasm_tools import WasmTools, wasm_tools
from cli.running import write
from inprocess import call
from node.harness import assemble

#: Two imports of one module, whose name is written once.
COMPACT = bytes.fromhex(
    "0061736d0100000001080260000060017f0002100103656e76007f0201610000016200010302010007"
    "0a01065f737461727400020a040102000b"
)
LEGACY = assemble("""(module (tag $t (param i32)) (func (export "_start")
  try (result i32) i32.const 1 throw $t catch $t end drop))""")
CONTINUATION = assemble('(module (type $f (func)) (type (cont $f)) (func (export "_start")))')
PAGES = assemble('(module (memory (export "m") 1 (pagesize 1)) (func (export "_start")))')
CUT = assemble('(module (func (export "_start")))')[:-3]


def codes(tmp_path: Path, module: bytes, *commands: str) -> set[str]:
    path = write(tmp_path / "module.wasm", module)
    found = set()
    options = {
        "split": ["-o", tmp_path / "out"],
        "link": ["--map", "env=/ipfs/bafkqaaa", "-o", tmp_path / "linked.wasm"],
    }
    for command in commands:
        done = call(tmp_path / "home", command, path, *options.get(command, []))
        assert done.status == 2 and "module.wasm`" in done.stderr.splitlines()[0], done.stderr
        found.add(done.stderr.partition("]")[0].removeprefix("error["))
    return found


@pytest.mark.parametrize(
    ("module", "code"), [(COMPACT, "wasm-unsupported"), (PAGES, "wasm-unsupported"), (CUT, "wasm-cut-short")]
)
def test_what_cannot_be_read_is_told_the_same_by_every_command(tmp_path: Path, module: bytes, code: str) -> None:
    assert bool(why_invalid(module, "all")) == (code != "wasm-unsupported")
    assert codes(tmp_path, module, "split", "inspect", "run", "jobspec") == {code}
    if module is COMPACT:
        assert codes(tmp_path, module, "link") == {code}


def test_what_the_engine_lacks_is_not_called_invalid(tmp_path: Path) -> None:
    for module, hint in ((LEGACY, "-wasm-use-legacy-eh=false"), (CONTINUATION, "--features=wasm3"), (PAGES, "=wasm3")):
        assert codes(tmp_path, module, "run") == {"wasm-unsupported"}
        done = call(tmp_path / "home", "run", tmp_path / "module.wasm")
        assert "no valid module" not in done.stderr and hint in done.stderr, done.stderr
    assert codes(tmp_path, CONTINUATION, "split", "run") == {"wasm-unsupported"}


def test_threads_are_said_to_be_lacking(tmp_path: Path) -> None:
    threads = assemble('(module (memory (export "m") 1 1 shared) (func (export "_start")))')
    assert codes(tmp_path, threads, "run") == {"wasm-unsupported"}
    assert "without threads" in call(tmp_path / "home", "run", tmp_path / "module.wasm").stderr


def test_a_module_is_not_invalid_because_its_judge_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = write(tmp_path / "wasm-tools", b"#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr("bacpack.verdict.wasm_tools", lambda: WasmTools(str(killed), "1.0.0"))
    assert codes(tmp_path, CUT, "run") == {"wasm-cut-short"}
    done = call(tmp_path / "home", "split", write(tmp_path / "app.wasm", LEGACY), "-o", tmp_path / "out")
    assert done.stderr.startswith("error[out-of-memory]: `wasm-tools` was killed"), done.stderr


def test_what_is_invalid_still_is(tmp_path: Path) -> None:
    invalid = assemble('(module (func (export "_start") (result i32)))')
    assert codes(tmp_path, invalid, "run") == {"invalid-module"}


def test_validation_may_take_as_long_as_a_module_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    module, run = assemble("(module)"), subprocess.run
    wasm_tools()  # which asks for its version once

    def slow(command: Any, *, timeout: float | None = None, **options: Any) -> Any:
        if timeout is not None:
            raise subprocess.TimeoutExpired(command, timeout)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", slow)
    assert why_invalid(module) == ""
