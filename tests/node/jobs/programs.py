"""Programs that tests have a node run, from text."""

from __future__ import annotations

from node.harness import assemble

_IMPORTS = """
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
"""


def _program(body: str, data: str = "", memory: int = 1) -> bytes:
    return assemble(
        f"""(module {_IMPORTS} (memory (export "memory") {memory}) {data}
          (func $say (param $fd i32) (param $at i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
            (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func $create (param $at i32) (param $len i32) (result i32)
            (drop (call $open (i32.const 3) (i32.const 0) (local.get $at) (local.get $len) (i32.const 9)
              (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 16)))
            (i32.load (i32.const 16)))
          (func (export "_start") {body}))"""
    )


def hello(text: str = "hello") -> bytes:
    """Prints a line."""
    return _program(f"(call $say (i32.const 1) (i32.const 100) (i32.const {len(text) + 1}))", _text(f"{text}\\0a"))


def endless(text: str = "") -> bytes:
    """Prints a line and never ends."""
    say = f"(call $say (i32.const 1) (i32.const 100) (i32.const {len(text) + 1}))" if text else ""
    return _program(f"{say} (loop (br 0))", _text(f"{text}\\0a"))


def sleeper() -> bytes:
    """Sleeps in the host for an hour, where no counting reaches it."""
    return _program(
        """(i64.store (i32.const 224) (i64.const 3600000000000)) (i32.store (i32.const 216) (i32.const 1))
        (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))"""
    )


def flood() -> bytes:
    """Prints without end."""
    return _program("(loop (call $say (i32.const 1) (i32.const 1024) (i32.const 60000)) (br 0))")


def memory_bomb() -> bytes:
    """Takes and touches memory until it is refused, then ends with 7."""
    return assemble(
        """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1) (func (export "_start") (local $page i32)
          (loop $more
            (local.set $page (memory.grow (i32.const 16)))
            (if (i32.eq (local.get $page) (i32.const -1)) (then (call $exit (i32.const 7))))
            (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 1) (i32.const 1048576))
            (br $more))))"""
    )


def copier() -> bytes:
    """Copies standard input to `out/copy.txt`, which it makes."""
    return _program(
        """(local $file i32)
        (drop (call $mkdir (i32.const 3) (i32.const 100) (i32.const 3)))
        (local.set $file (call $create (i32.const 100) (i32.const 12)))
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 12)))
        (call $say (local.get $file) (i32.const 1024) (i32.load (i32.const 12)))""",
        _text("out/copy.txt"),
    )


def filler() -> bytes:
    """Writes one file without end."""
    return _program(
        """(local $file i32) (local.set $file (call $create (i32.const 100) (i32.const 3)))
        (loop (call $say (local.get $file) (i32.const 1024) (i32.const 60000)) (br 0))""",
        _text("big"),
    )


def linker_out(target: str) -> bytes:
    """Makes a symbolic link `way` to `target`, then ends."""
    return _program(
        f"""(drop (call $symlink (i32.const 200) (i32.const {len(target)}) (i32.const 3) (i32.const 100)
          (i32.const 3)))""",
        _text("way") + f'(data (i32.const 200) "{target}")',
    )


def reader(path: str) -> bytes:
    """Prints the content of a file, or `none`."""
    return _program(
        f"""(local $error i32)
        (local.set $error (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const {len(path)}) (i32.const 0)
          (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 16)))
        (if (local.get $error) (then (call $say (i32.const 1) (i32.const 300) (i32.const 4))) (else
          (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
          (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 12)))
          (call $say (i32.const 1) (i32.const 1024) (i32.load (i32.const 12)))))""",
        _text(path) + '(data (i32.const 300) "none")',
    )


def adder() -> bytes:
    """Exports `add`."""
    return assemble('(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))')


def library(number: int) -> bytes:
    """Exports `number`, which returns one."""
    return assemble(f'(module (func (export "number") (result i32) i32.const {number}))')


def numbered(number: int) -> bytes:
    """A module like `library`, without a process for each."""
    value = bytes([0x80 | number & 0x7F, number >> 7])
    body = b"\x00\x41" + value + b"\x0b"
    return (
        b"\0asm\x01\0\0\0\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x07\x0a\x01\x06number\x00\x00"
        + bytes([10, len(body) + 2, 1, len(body)])
        + body
    )


def user_of(*cids: str, export: str = "number") -> bytes:
    """Imports `number` of each module and exits with their sum."""
    imports = "".join(f'(import "{cid}" "{export}" (func $f{at} (result i32)))' for at, cid in enumerate(cids))
    adds = "".join(f"(i32.add (call $f{at}))" for at in range(len(cids)))
    return assemble(
        f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) {imports}
          (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 0) {adds})))"""
    )


def _text(text: str) -> str:
    return f'(data (i32.const 100) "{text}")'
