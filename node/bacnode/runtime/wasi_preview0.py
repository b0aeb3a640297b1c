"""WASI preview 0, `wasi_unstable`, by means of preview 1: programs built before 2020 have it, and some newer ones.

The two have the same functions and numbers but for these: `fd_seek` numbers its origins in another order, a file's
count of links had 32 bits, and a subscription to a clock named itself a second time. The engine's own functions work on
the memory of the module that calls them, so those four are called by a small module with a memory of its own, from
where results are copied over.

Specification: https://github.com/WebAssembly/WASI, `phases/old/snapshot_0/witx`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import wasmtime

from bacpack.content.cid.import_namespace import HOST_MODULES, WASI, WASI_UNSTABLE

#: Of the module in between: where a result is written, and what else is handed over, up to its end.
_RESULT, _GIVEN, _END = 0, 0x1000, 0x20000
_BETWEEN = """(module
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2 2)
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32)
    (call $fd_seek (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "fd_filestat_get") (param i32 i32) (result i32)
    (call $fd_filestat_get (local.get 0) (local.get 1)))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32)
    (call $path_filestat_get (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32)
    (call $poll_oneoff (local.get 0) (local.get 1) (local.get 2) (local.get 3))))"""

_FAULT, _INVALID, _NAME_TOO_LONG = 21, 28, 37
#: The origins of `fd_seek` in preview 1, by their numbers in preview 0: where one is, the end, the beginning.
_ORIGINS = (1, 2, 0)
#: Device, inode, type, links, size, and three times.
_FILE_NEW, _FILE_OLD = struct.Struct("<QQB7xQQQQQ"), struct.Struct("<QQB3xIQQQQ")
#: What to remember it by, what is awaited; then of a clock its number, when, how exactly, and whether that is absolute.
_WAIT_NEW, _WAIT_OLD = struct.Struct("<QB7xI4xQQH6x"), struct.Struct("<QB7x8xI4xQQH6x")
#: The same of a file: its descriptor.
_WAIT_FILE_NEW, _WAIT_FILE_OLD = struct.Struct("<QB7xI28x"), struct.Struct("<QB7xI36x")
_CLOCK = 0
_EVENT_BYTES = 32


class _OutOfBoundsError(Exception):
    """A pointer of the program leads out of its memory."""


def define_preview0(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
    """Define `wasi_unstable` beside the functions of preview 1, which `linker` has."""
    between = linker.instantiate(store, wasmtime.Module(store.engine, _BETWEEN)).exports(store)
    memory = between["memory"]
    assert isinstance(memory, wasmtime.Memory)
    other = _Other(memory)
    adapted: dict[str, Callable[..., int]] = {
        "fd_seek": other.fd_seek,
        "fd_filestat_get": other.fd_filestat_get,
        "path_filestat_get": other.path_filestat_get,
        "poll_oneoff": other.poll_oneoff,
    }
    for name in sorted(HOST_MODULES[WASI_UNSTABLE]):
        function = between[name] if name in adapted else linker.get(store, WASI, name)
        assert isinstance(function, wasmtime.Func)
        if name in adapted:
            call = _guarded(adapted[name], function)
            linker.define_func(WASI_UNSTABLE, name, function.type(store), call, access_caller=True)
        else:
            linker.define(store, WASI_UNSTABLE, name, function)


def _guarded(adapted: Callable[..., int], function: wasmtime.Func) -> Callable[..., int]:
    def call(caller: wasmtime.Caller, *arguments: int) -> int:
        try:
            return adapted(_Memory(caller), lambda *numbers: function(caller, *numbers), *arguments)
        except _OutOfBoundsError:
            return _FAULT

    return call


class _Memory:
    """The memory of the module that calls."""

    def __init__(self, caller: wasmtime.Caller) -> None:
        memory = caller.get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise wasmtime.WasmtimeError("missing required memory export")
        self.caller = caller
        self._memory = memory

    def read(self, at: int, count: int) -> bytes:
        """Return bytes; raises `_OutOfBoundsError`."""
        at &= 0xFFFFFFFF
        if at + count > self._memory.data_len(self.caller):
            raise _OutOfBoundsError
        return bytes(self._memory.read(self.caller, at, at + count))

    def write(self, at: int, data: bytes) -> None:
        """Write bytes; raises `_OutOfBoundsError`."""
        at &= 0xFFFFFFFF
        if at + len(data) > self._memory.data_len(self.caller):
            raise _OutOfBoundsError
        self._memory.write(self.caller, data, at)


Call = Callable[..., int]


class _Other:
    """The functions that differ: each is given the caller's memory, and the function of preview 1."""

    def __init__(self, between: wasmtime.Memory) -> None:
        self._between = between

    def fd_seek(self, memory: _Memory, call: Call, fd: int, offset: int, origin: int, result: int) -> int:
        """Move within a file."""
        if not 0 <= origin < len(_ORIGINS):
            return _INVALID
        error = call(fd, offset, _ORIGINS[origin], _RESULT)
        if not error:
            memory.write(result, self._result(memory, 8))
        return error

    def fd_filestat_get(self, memory: _Memory, call: Call, fd: int, result: int) -> int:
        """Describe an open file."""
        return self._described(memory, call(fd, _RESULT), result)

    def path_filestat_get(
        self, memory: _Memory, call: Call, fd: int, flags: int, path: int, length: int, result: int
    ) -> int:
        """Describe a file."""
        length &= 0xFFFFFFFF
        if length > _END - _GIVEN:
            return _NAME_TOO_LONG
        self._between.write(memory.caller, memory.read(path, length), _GIVEN)
        return self._described(memory, call(fd, flags, _GIVEN, length, _RESULT), result)

    def poll_oneoff(self, memory: _Memory, call: Call, given: int, events: int, count: int, happened: int) -> int:
        """Wait."""
        count &= 0xFFFFFFFF
        most_events = (_END - _GIVEN) // (_WAIT_NEW.size + _EVENT_BYTES)
        if not 0 < count <= most_events:
            return _INVALID
        old = memory.read(given, count * _WAIT_OLD.size)
        waits = [_wait(old[at : at + _WAIT_OLD.size]) for at in range(0, len(old), _WAIT_OLD.size)]
        self._between.write(memory.caller, b"".join(waits), _GIVEN)
        out = _GIVEN + count * _WAIT_NEW.size
        error = call(_GIVEN, out, count, _RESULT)
        if not error:
            number = self._result(memory, 4)
            end = out + min(int.from_bytes(number, "little"), count) * _EVENT_BYTES
            memory.write(events, bytes(self._between.read(memory.caller, out, end)))
            memory.write(happened, number)
        return error

    def _described(self, memory: _Memory, error: int, result: int) -> int:
        if not error:
            device, inode, kind, links, *rest = _FILE_NEW.unpack(self._result(memory, _FILE_NEW.size))
            memory.write(result, _FILE_OLD.pack(device, inode, kind, min(links, 0xFFFFFFFF), *rest))
        return error

    def _result(self, memory: _Memory, count: int) -> bytes:
        return bytes(self._between.read(memory.caller, _RESULT, _RESULT + count))


def _wait(old: bytes) -> bytes:
    """A subscription as preview 1 has it."""
    if old[8] == _CLOCK:
        return _WAIT_NEW.pack(*_WAIT_OLD.unpack(old))
    return _WAIT_FILE_NEW.pack(*_WAIT_FILE_OLD.unpack(old))
