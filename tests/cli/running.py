"""Programs that tests of `bacpack run` run, and how a program says what it was given."""

from __future__ import annotations

from pathlib import Path

from bacpack.content.cid.cid import Cid
from corpus import rust_programs
from node.harness import Command, assemble

PROGRAMS = rust_programs()

LIBRARY = assemble('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
LIBRARY_CID = str(Cid.of_raw(LIBRARY))


def adding(namespace: str) -> bytes:
    """A program that ends with the status 3 + 4, computed by another module."""
    return assemble(f"""(module (import "{namespace}" "add" (func $add (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (call $add (i32.const 3) (i32.const 4)))))""")


LOOP = assemble('(module (memory (export "memory") 1) (func (export "_start") (loop $l br $l)))')
#: Writes its arguments, each ended by a zero.
ECHO_ARGUMENTS = assemble(r"""(module
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 1024) (i32.const 4096)))
    (i32.store (i32.const 8) (i32.const 4096))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))""")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def arguments_seen(command: Command, *line: object, cwd: Path | None = None) -> list[str]:
    done = command("run", *line, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split("\0")[:-1]
