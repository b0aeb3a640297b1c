"""WASI preview 0: what programs that are built for it ask, and where it differs from preview 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacnode.fetch.limits import LoadLimits
from bacnode.programs.resolver import resolve
from bacnode.runtime.engine import Runtime
from bacnode.runtime.run_limits import RunLimits
from bacnode.runtime.traps import Outcome
from bacnode.runtime.wasi import Job
from cli.running import write
from inprocess import call
from node.harness import FakeFetch, assemble, fetched, run_graph

IMPORTS = """
  (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_unstable" "path_filestat_get" (func $path_stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_unstable" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 0) "file.txt")
"""
#: Opens the file, to read and seek in it and to be told of it.
OPEN = """(drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 0)
  (i64.const 0x8200026) (i64.const 0) (i32.const 0) (i32.const 16)))"""
FD = "(i32.load (i32.const 16))"


def run(tmp_path: Path, body: str, results: str, *, limits: RunLimits | None = None) -> Outcome:
    """Run code in a folder with a file of ten bytes."""
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "file.txt").write_bytes(b"0123456789")
    program = assemble(f'(module {IMPORTS} (func (export "result") (result {results}) {body}))')
    graph = resolve(fetched(program), FakeFetch(), LoadLimits())
    runtime = Runtime(interruptible=False)
    job = Job(arguments=["app"], folders=[(folder, "/")], limits=limits or RunLimits())
    return run_graph(runtime, graph, "result", job)


@pytest.mark.parametrize(
    ("offset", "origin", "expected"),
    [(4, 2, (0, 4)), (-3, 1, (0, 7)), (2, 0, (0, 2)), (0, 3, (28, -1)), (-1, 2, (28, -1))],
)
def test_seeking(tmp_path: Path, offset: int, origin: int, expected: tuple[int, int]) -> None:
    body = f"""{OPEN} (i64.store (i32.const 32) (i64.const -1))
      (call $seek {FD} (i64.const {offset}) (i32.const {origin}) (i32.const 32)) (i64.load (i32.const 32))"""
    assert tuple(map(int, run(tmp_path, body, "i32 i64").results)) == expected


@pytest.mark.parametrize("of", ["path", "descriptor"])
def test_describing_a_file(tmp_path: Path, of: str) -> None:
    """Size and links stand where they did, and nothing behind the 56 bytes is written."""
    ask = f"(call $stat {FD} (i32.const 128))"
    if of == "path":
        ask = "(call $path_stat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 128))"
    body = f"""{OPEN} (i64.store (i32.const 184) (i64.const 77)) {ask} (i32.load8_u (i32.const 144))
      (i32.load (i32.const 148)) (i64.load (i32.const 152)) (i64.load (i32.const 184))"""
    assert run(tmp_path, body, "i32 i32 i32 i64 i64").results == ["0", "4", "1", "10", "77"]


def test_waiting_for_a_clock_and_a_file(tmp_path: Path) -> None:
    clock = """(i64.store (i32.const 256) (i64.const 5)) (i32.store8 (i32.const 264) (i32.const 0))
      (i64.store (i32.const 272) (i64.const 9)) (i32.store (i32.const 280) (i32.const 1))
      (i64.store (i32.const 288) (i64.const 1000000))"""
    body = f"""{clock} (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 128))
      (i32.load (i32.const 128)) (i64.load (i32.const 512)) (i32.load16_u (i32.const 520))
      (i32.load8_u (i32.const 522))"""
    assert run(tmp_path, body, "i32 i32 i64 i32 i32").results == ["0", "1", "5", "0", "0"]
    body = f"""{OPEN} {clock} (i64.store (i32.const 288) (i64.const 60000000000))
      (i64.store (i32.const 312) (i64.const 6)) (i32.store8 (i32.const 320) (i32.const 1))
      (i32.store (i32.const 328) {FD})
      (call $poll (i32.const 256) (i32.const 512) (i32.const 2) (i32.const 128))
      (i32.load (i32.const 128)) (i64.load (i32.const 512)) (i32.load8_u (i32.const 522))"""
    assert run(tmp_path, body, "i32 i32 i64 i32").results == ["0", "1", "6", "1"]


@pytest.mark.parametrize(
    "ask",
    [
        f"(call $stat {FD} (i32.const -8))",
        "(call $path_stat (i32.const 3) (i32.const 0) (i32.const 65535) (i32.const 8) (i32.const 128))",
        f"(call $seek {FD} (i64.const 0) (i32.const 2) (i32.const 65532))",
        "(call $poll (i32.const 65500) (i32.const 0) (i32.const 1) (i32.const 0))",
    ],
)
def test_a_pointer_out_of_memory_is_an_error_of_the_call(tmp_path: Path, ask: str) -> None:
    assert run(tmp_path, f"{OPEN} {ask}", "i32").results == ["21"]


def test_limits_leave_room_for_it(tmp_path: Path) -> None:
    limits = RunLimits(memory_bytes=1 << 20, instances=1, memories=1, tables=0)
    assert run(tmp_path, "(i32.const 1)", "i32", limits=limits).results == ["1"]


def test_the_command_runs_such_programs_and_their_splits(tmp_path: Path) -> None:
    program = write(tmp_path / "app.wasm", assemble(f"""(module {IMPORTS}
      (func (export "_start") (call $exit (i32.const 7))))"""))  # fmt: skip
    assert call(tmp_path / "home", "run", program).status == 7
    assert call(tmp_path / "home", "run", "--max-memory", "1MiB", program).status == 7
    assert call(tmp_path / "home", "split", program, "-o", tmp_path / "out").status == 0
    assert call(tmp_path / "home", "run", tmp_path / "out" / "app.wasm").status == 7


@pytest.mark.parametrize(
    ("namespace", "name", "said"),
    [
        ("wasi:cli/stdout@0.2.0", "get-stdout", "WASI 0.2"),
        ("wasi", "thread-spawn", "threads"),
        ("__wbindgen_placeholder__", "x", "wasm-bindgen"),
    ],
)
def test_what_is_built_for_another_host_is_told_so(tmp_path: Path, namespace: str, name: str, said: str) -> None:
    text = f'(module (import "{namespace}" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))'
    done = call(tmp_path / "home", "run", write(tmp_path / "app.wasm", assemble(text)))
    first, second = done.stderr.splitlines()
    assert first.startswith("error[unlinked-import]: ") and said in first and "build it for wasm32-wasip1" in second
