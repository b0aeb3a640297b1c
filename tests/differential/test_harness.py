"""The harness itself: it links by CID as any host could, and it sees every kind of difference."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from differential.harness import Case, Host, LinkError, Outcome, cid_of, differences

#: Greets, counts in a global, calls through the table, writes a file, and ends with a code or a trap.
BLOB = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (table 4 funcref)
  (global $count (mut i32) (i32.const 40))
  (type $operation (func (param i32) (result i32)))
  (elem (i32.const 1) $add_two)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "hello\n")
  (func $add_two (param i32) (result i32) (i32.add (local.get 0) (i32.const 2)))
  (func $add (result i32) (call_indirect (type $operation) (global.get $count) (i32.const 1)))
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $proc_exit (call $add))))"""

ENVIRONMENT = """(module
  (memory (export "memory") 0) (table (export "table") 0 funcref) (global (export "sp") (mut i32) (i32.const 0)))"""

SHARED = """(module
  (import "{environment}" "table" (table 0 funcref))
  (import "{environment}" "sp" (global $count (mut i32)))
  (type $operation (func (param i32) (result i32)))
  (func (export "add") (result i32) (call_indirect (type $operation) (global.get $count) (i32.const 1))))"""

REMAINDER = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "{environment}" "memory" (memory 0))
  (import "{environment}" "table" (table $table 0 funcref))
  (import "{environment}" "sp" (global $count (mut i32)))
  (import "{shared}" "add" (func $add (result i32)))
  (export "memory" (memory 0))
  (elem $element func $add_two)
  (data $lengths "\10\00\00\00\06\00\00\00")
  (data $text "hello\n")
  (func $add_two (param i32) (result i32) (i32.add (local.get 0) (i32.const 2)))
  (func $start
    (drop (memory.grow (i32.const 1)))
    (drop (table.grow $table (ref.null func) (i32.const 4)))
    (table.init $table $element (i32.const 1) (i32.const 0) (i32.const 1))
    (memory.init $lengths (i32.const 0) (i32.const 0) (i32.const 8))
    (memory.init $text (i32.const 16) (i32.const 0) (i32.const 6))
    (global.set $count (i32.const 40)))
  (start $start)
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $proc_exit (call $add))))"""


def assemble(text: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(wasmtime.wat2wasm(text)))
    return path


def store_module(text: str, folder: Path) -> str:
    """Assemble a module into `folder` under its CID, and return that."""
    data = bytes(wasmtime.wat2wasm(text))
    folder.mkdir(exist_ok=True)
    (folder / f"{cid_of(data)}.wasm").write_bytes(data)
    return cid_of(data)


def split_by_hand(folder: Path, remainder: str = REMAINDER, shared: str = SHARED) -> tuple[Path, Path]:
    modules = folder / "modules"
    environment_cid = store_module(ENVIRONMENT, modules)
    shared_cid = store_module(shared.replace("{environment}", environment_cid), modules)
    text = remainder.replace("{environment}", environment_cid).replace("{shared}", shared_cid)
    return assemble(text, folder / "app.wasm"), modules


@pytest.fixture
def greeting(host: Host, tmp_path: Path) -> Outcome:
    return host.run(assemble(BLOB, tmp_path / "blob.wasm"), Case())


def test_a_split_by_hand_behaves_as_its_blob(host: Host, tmp_path: Path, greeting: Outcome) -> None:
    app, modules = split_by_hand(tmp_path)
    assert (greeting.stdout, greeting.exit_code, greeting.trap) == (b"hello\n", 42, None)
    assert differences(greeting, host.run(app, Case(), modules)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("hello", "hallo", ["stdout: b'hello\\n' became b'hallo\\n'"]),
        ("i32.const 40", "i32.const 41", ["exit_code: 42 became 43"]),
        ("fd_write (i32.const 1)", "fd_write (i32.const 2)", ["stdout: b'hello", "stderr: b'' became b'hello"]),
        (
            "(table.init $table $element (i32.const 1)",
            "(table.init $table $element (i32.const 2)",
            ["exit_code: 42 became None", "trap: None became 'INDIRECT_CALL_TO_NULL"],
        ),
        (
            "(table.grow $table (ref.null func) (i32.const 4))",
            "(table.grow $table (ref.null func) (i32.const 1))",
            ["stdout", "exit_code: 42 became None", "trap: None became 'TABLE_OUT_OF_BOUNDS"],
        ),
    ],
)
def test_a_wrong_split_is_seen(
    host: Host, tmp_path: Path, greeting: Outcome, right: str, wrong: str, expected: list[str]
) -> None:
    assert right in REMAINDER
    app, modules = split_by_hand(tmp_path, REMAINDER.replace(right, wrong))
    found = differences(greeting, host.run(app, Case(), modules))
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_a_file_and_a_returned_value_that_differ_are_seen() -> None:
    nothing = Outcome(b"", b"", 0, None, None, {})
    written = Outcome(b"", b"", 0, None, 7, {"a": b"1", "b/": b""})
    assert differences(nothing, written) == [
        "returned: None became 7",
        "file a: None became b'1'",
        "file b/: None became b''",
    ]


def test_a_missing_module_is_named(host: Host, tmp_path: Path) -> None:
    app, modules = split_by_hand(tmp_path)
    for module in modules.iterdir():
        module.unlink()
    with pytest.raises(LinkError, match="no module provides the import namespace 'b"):
        host.run(app, Case(), modules)


def test_a_module_under_another_name_is_refused(host: Host, tmp_path: Path) -> None:
    app, modules = split_by_hand(tmp_path)
    first, second = sorted(modules.iterdir())
    first.write_bytes(second.read_bytes())
    with pytest.raises(LinkError, match="has the CID"):
        host.run(app, Case(), modules)


def test_a_shared_module_that_calls_the_host_is_refused(host: Host, tmp_path: Path) -> None:
    calling = SHARED.replace("(type", '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (type', 1)
    app, modules = split_by_hand(tmp_path, shared=calling)
    with pytest.raises(LinkError, match="only the remainder may call the host"):
        host.run(app, Case(), modules)


def test_a_program_that_never_ends_is_ended(tmp_path: Path) -> None:
    endless = assemble('(module (func (export "_start") (loop (br 0))))', tmp_path / "endless.wasm")
    with pytest.raises(TimeoutError, match=r"did not end within 0\.1 s"):
        Host(time_limit=0.1).run(endless, Case())


def test_clock_and_random_numbers_are_the_same_every_time(host: Host, tmp_path: Path) -> None:
    text = """(module
      (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (result i64)
        (drop (call $random_get (i32.const 0) (i32.const 8)))
        (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 8)))
        (i64.xor (i64.load (i32.const 0)) (i64.load (i32.const 8)))))"""
    program = assemble(text, tmp_path / "program.wasm")
    first = host.run(program, Case())
    assert first.returned
    assert differences(first, host.run(program, Case())) == []
