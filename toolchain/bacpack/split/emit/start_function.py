"""Pieces of a remainder's start function: instruction sequences that bring a fresh environment to the blob's state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bacpack.wasm import Limits, TableType
from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.types import FUNCREF
from bacpack.wasm.writer import END, i32_const, i64_const

#: The instruction that stores so many bytes: it takes less than to copy them from a segment.
STORES = {1: 0x3A, 2: 0x3B, 4: 0x36, 8: 0x37}

#: Engines that compile quickly keep each value of a function in its frame: that of a start function of 40 KB takes more
#: than the 512 KiB that Wasmtime gives to all calls of a program. So what is longer than the first of these is done by
#: functions as long as the second, which the start function calls.
_MOST_BYTES, _PART_BYTES = 6144, 2048
_TRAP_IF_MINUS_ONE = b"\x41\x7f\x46\x04\x40\x00\x0b"  # i32.const -1; i32.eq; if; unreachable; end
_REF_NULL_FUNC = b"\xd0" + FUNCREF


def call(function: int) -> bytes:
    """A direct call."""
    return b"\x10" + encode_unsigned(function)


def grow_memory(limits: Limits) -> bytes:
    """Grow memory 0, which is empty, to its declared minimum; trap when that fails, as instantiation would have."""
    return i32_const(limits.minimum) + b"\x40\0" + _TRAP_IF_MINUS_ONE if limits.minimum else b""


def grow_table(type_: TableType, init: bytes | None) -> bytes:
    """Grow table 0, which is empty, to its declared minimum; `init` is what its entries start as."""
    value = init[: -len(END)] if init else _REF_NULL_FUNC
    return value + i32_const(type_.limits.minimum) + b"\xfc\x0f\0" + _TRAP_IF_MINUS_ONE if type_.limits.minimum else b""


def set_global(index: int, init: bytes) -> bytes:
    """Set a global to the value of a constant expression."""
    return init[: -len(END)] + b"\x24" + encode_unsigned(index)


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring entries that come from neighbouring places of one source."""

    to: int
    source: int
    count: int


def runs(places: Sequence[tuple[int, int]]) -> Iterator[Run]:
    """Join (to, source) pairs that go up together, in their order, into runs."""
    at = 0
    while at < len(places):
        to, source = places[at]
        end = at + 1
        while end < len(places) and places[end] == (to + end - at, source + end - at):
            end += 1
        yield Run(to, source, end - at)
        at = end


def table_init(run: Run, segment: int, table: int) -> bytes:
    """Copy a run of an element segment into a table."""
    return _bounds(run) + b"\xfc\x0c" + encode_unsigned(segment) + encode_unsigned(table)


def memory_init(run: Run, segment: int) -> bytes:
    """Copy a run of a data segment into memory 0."""
    return _bounds(run) + b"\xfc\x08" + encode_unsigned(segment) + b"\0"


def store(address: int, content: bytes) -> bytes:
    """Write a few bytes to memory 0, as many as one of `STORES` stores."""
    value = int.from_bytes(content, "little")
    number = i64_const(value) if len(content) == 8 else i32_const(value)
    return i32_const(address) + number + bytes([STORES[len(content)], 0, 0])


@dataclass(frozen=True, slots=True)
class HandOver:
    """A call of a function that takes words, and the words: see `abi/words`."""

    function: int
    words: bytes


def hand_over(calls: Sequence[HandOver], address: int, segment: int, source: int) -> list[bytes]:
    """Carry out calls, whose words lie from `source` on in a data segment, each with them at `address` of memory 0.

    What is there must be zero, and is zero again after.
    """
    if not calls:
        return []
    out: list[bytes] = []
    for entry in calls:
        to_memory = memory_init(Run(address, source, len(entry.words)), segment)
        out.append(to_memory + i32_const(address) + call(entry.function))
        source += len(entry.words)
    most = max(len(entry.words) for entry in calls)
    out.append(i32_const(address) + i32_const(0) + i32_const(most) + b"\xfc\x0b\0")  # memory.fill
    return out


def parts(steps: Sequence[bytes]) -> list[bytes]:
    """Join steps, each of which leaves nothing on the stack, to parts that are each short enough for a function."""
    longest = _MOST_BYTES if sum(map(len, steps)) <= _MOST_BYTES else _PART_BYTES
    out = [b""]
    for step in steps:
        if out[-1] and len(out[-1]) + len(step) > longest:
            out.append(b"")
        out[-1] += step
    return out


def table_copy(run: Run, source: int, table: int) -> bytes:
    """Copy a run of a table into another."""
    return _bounds(run) + b"\xfc\x0e" + encode_unsigned(table) + encode_unsigned(source)


def _bounds(run: Run) -> bytes:
    return i32_const(run.to) + i32_const(run.source) + i32_const(run.count)


def table_init_at(offset: bytes, count: int, segment: int, table: int) -> bytes:
    """Copy a whole element segment to where a constant expression says."""
    bounds = offset[: -len(END)] + i32_const(0) + i32_const(count)
    return bounds + b"\xfc\x0c" + encode_unsigned(segment) + encode_unsigned(table)


def elem_drop(segment: int) -> bytes:
    """Drop an element segment, as happens to an active one after its use."""
    return b"\xfc\x0d" + encode_unsigned(segment)


def memory_init_at(offset: bytes, size: int, segment: int) -> bytes:
    """Copy a whole data segment to where a constant expression says."""
    return offset[: -len(END)] + i32_const(0) + i32_const(size) + b"\xfc\x08" + encode_unsigned(segment) + b"\0"


def data_drop(segment: int) -> bytes:
    """Drop a data segment, as happens to an active one after its use."""
    return b"\xfc\x09" + encode_unsigned(segment)


def bounded_grow_memory(maximum: int) -> bytes:
    """The code of a function that grows memory 0 by its parameter, unless that goes beyond `maximum` pages."""
    wanted = b"\x3f\0\xad\x20\0\xad\x7c"  # memory.size and the parameter, as 64-bit numbers, added
    return _bounded(wanted, maximum, b"\x20\0\x40\0")


def bounded_grow_table(maximum: int) -> bytes:
    """The code of a function that grows table 0 by (value, count), unless that goes beyond `maximum` entries."""
    wanted = b"\xfc\x10\0\xad\x20\1\xad\x7c"  # table.size and the count, as 64-bit numbers, added
    return _bounded(wanted, maximum, b"\x20\0\x20\1\xfc\x0f\0")


def _bounded(wanted: bytes, maximum: int, grow: bytes) -> bytes:
    limit = b"\x42" + encode_signed(maximum) + b"\x56"  # i64.const; i64.gt_u
    return b"\0" + wanted + limit + b"\x04\x7f\x41\x7f\x05" + grow + END + END


def forward(call_: bytes, parameters: int) -> bytes:
    """The code of a function that passes its parameters on with a call."""
    gets = b"".join(b"\x20" + encode_unsigned(number) for number in range(parameters))
    return b"\0" + gets + call_ + END
