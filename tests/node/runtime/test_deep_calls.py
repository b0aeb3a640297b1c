"""Calls that go deep: where a blob runs, its split runs too, though some of its functions have larger frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacnode.runtime.engine_config import is_linked
from inprocess import call
from split.harness import both, work
from wasmtools import assemble

#: So many constants that a function of the split has a frame half as large again.
CONSTANTS = 20


def recursive() -> list[bytes]:
    """Two programs with a function that calls itself, and uses addresses that differ before and after."""
    addresses = [f"{{{20_000 + 68 * number}|{52_340 + 68 * number}}}" for number in range(CONSTANTS)]
    before = " ".join(f"(local.set $v{number} (i32.load (i32.const {at})))" for number, at in enumerate(addresses))
    after = " ".join(
        f"(i32.add (local.get $v{number})) (i32.add (i32.load (i32.const {at})))" for number, at in enumerate(addresses)
    )
    text = f"""(memory (export "memory") 2) (data (i32.const {{20000|52340}}) "some data")
      (func $deep (export "deep") (param $n i32) (result i32)
        {" ".join(f"(local $v{number} i32)" for number in range(CONSTANTS))} {before}
        (if (result i32) (i32.eqz (local.get $n)) (then (i32.const 0))
          (else (call $deep (i32.sub (local.get $n) (i32.const 1))))) {after})
      (func (export "other") (param i32) (result i32) {work("other", 3000)} local.get 0)"""
    return [assemble(program) for program in both(text)]


def deepest(home: Path, blob: Path) -> int:
    """How often the function of a blob can call itself."""
    runs, traps = 0, 1 << 16
    while traps - runs > 1:
        middle = (runs + traps) // 2
        if call(home, "run", blob, "--invoke", "deep", middle).status:
            traps = middle
        else:
            runs = middle
    return runs


def test_a_split_runs_as_deep_as_its_blob(tmp_path: Path) -> None:
    blobs = []
    for name, data in zip("ab", recursive(), strict=True):
        blobs.append(tmp_path / f"{name}.wasm")
        blobs[-1].write_bytes(data)
    assert call(tmp_path / "home", "split", *blobs, "-o", tmp_path / "out").status == 0
    depth = deepest(tmp_path / "home", blobs[0])
    assert depth > 1000
    split = tmp_path / "out" / "a.wasm"
    assert is_linked(split.read_bytes())
    whole, again = (call(tmp_path / "home", "run", program, "--invoke", "deep", depth) for program in (blobs[0], split))
    assert (again.status, again.stdout) == (0, whole.stdout)
    endless = call(tmp_path / "home", "run", split, "--invoke", "deep", 10_000_000)
    assert endless.status == 134
    assert "call stack exhausted" in endless.stderr


@pytest.mark.parametrize("text", ['(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))', ""])
def test_a_program_that_imports_from_the_host_alone_is_not_linked(text: str) -> None:
    assert not is_linked(assemble(f"(module {text})"))


def test_what_is_no_module_is_not_linked() -> None:
    assert not is_linked(b"\0asm\1\0\0\0\1\x7f")
