"""Pieces of a remainder's start function: instruction sequences that bring a fresh environment to the blob's state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bacpack.wasm import Limits, TableType
from bacpack.wasm.instructions import NO_LOCALS, VOID, op
from bacpack.wasm.types import FUNCREF, I32
from bacpack.wasm.writer import END

#: The instruction that stores so many bytes: it takes less than to copy them from a segment.
STORES = {1: "i32.store8", 2: "i32.store16", 4: "i32.store", 8: "i64.store"}

#: Engines that compile quickly keep each value of a function in its frame: that of a start function of 40 KB takes more
#: than the 512 KiB that Wasmtime gives to all calls of a program. So what is longer than the first of these is done by
#: functions as long as the second, which the start function calls.
_MOST_BYTES, _PART_BYTES = 6144, 2048
_TRAP_IF_MINUS_ONE = op("i32.const", -1) + op("i32.eq") + op("if", VOID) + op("unreachable") + op("end")


def grow_memory(limits: Limits) -> bytes:
    """Grow memory 0, which is empty, to its declared minimum; trap when that fails, as instantiation would have."""
    return op("i32.const", limits.minimum) + op("memory.grow", 0) + _TRAP_IF_MINUS_ONE if limits.minimum else b""


def grow_table(type_: TableType, init: bytes | None) -> bytes:
    """Grow table 0, which is empty, to its declared minimum; `init` is what its entries start as."""
    if not type_.limits.minimum:
        return b""
    value = init[: -len(END)] if init else op("ref.null", FUNCREF)
    return value + op("i32.const", type_.limits.minimum) + op("table.grow", 0) + _TRAP_IF_MINUS_ONE


def set_global(index: int, init: bytes) -> bytes:
    """Set a global to the value of a constant expression."""
    return init[: -len(END)] + op("global.set", index)


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
    return _bounds(run) + op("table.init", segment, table)


def memory_init(run: Run, segment: int) -> bytes:
    """Copy a run of a data segment into memory 0."""
    return _bounds(run) + op("memory.init", segment, 0)


def store(address: int, content: bytes) -> bytes:
    """Write a few bytes to memory 0, as many as one of `STORES` stores."""
    value = int.from_bytes(content, "little")
    number = op("i64.const" if len(content) == 8 else "i32.const", value)
    return op("i32.const", address) + number + op(STORES[len(content)], 0, 0)


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
        out.append(to_memory + op("i32.const", address) + op("call", entry.function))
        source += len(entry.words)
    most = max(len(entry.words) for entry in calls)
    out.append(_bounds(Run(address, 0, most)) + op("memory.fill", 0))
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
    return _bounds(run) + op("table.copy", table, source)


def _bounds(run: Run) -> bytes:
    return op("i32.const", run.to) + op("i32.const", run.source) + op("i32.const", run.count)


def table_init_at(offset: bytes, count: int, segment: int, table: int) -> bytes:
    """Copy a whole element segment to where a constant expression says."""
    bounds = offset[: -len(END)] + op("i32.const", 0) + op("i32.const", count)
    return bounds + op("table.init", segment, table)


def elem_drop(segment: int) -> bytes:
    """Drop an element segment, as happens to an active one after its use."""
    return op("elem.drop", segment)


def memory_init_at(offset: bytes, size: int, segment: int) -> bytes:
    """Copy a whole data segment to where a constant expression says."""
    bounds = offset[: -len(END)] + op("i32.const", 0) + op("i32.const", size)
    return bounds + op("memory.init", segment, 0)


def data_drop(segment: int) -> bytes:
    """Drop a data segment, as happens to an active one after its use."""
    return op("data.drop", segment)


def bounded_grow_memory(maximum: int) -> bytes:
    """The code of a function that grows memory 0 by its parameter, unless that goes beyond `maximum` pages."""
    return _bounded(op("memory.size", 0), [op("local.get", 0)], op("memory.grow", 0), maximum)


def bounded_grow_table(maximum: int) -> bytes:
    """The code of a function that grows table 0 by (value, count), unless that goes beyond `maximum` entries."""
    return _bounded(op("table.size", 0), [op("local.get", 0), op("local.get", 1)], op("table.grow", 0), maximum)


def _bounded(size: bytes, parameters: Sequence[bytes], grow: bytes, maximum: int) -> bytes:
    to_64 = op("i64.extend_i32_u")
    wanted = size + to_64 + parameters[-1] + to_64 + op("i64.add")
    beyond = wanted + op("i64.const", maximum) + op("i64.gt_u")
    grown = b"".join(parameters) + grow
    return NO_LOCALS + beyond + op("if", I32) + op("i32.const", -1) + op("else") + grown + op("end") + op("end")


def forward(call: bytes, parameters: int) -> bytes:
    """The code of a function that passes its parameters on with a call."""
    gets = b"".join(op("local.get", number) for number in range(parameters))
    return NO_LOCALS + gets + call + op("end")
