"""Loads whose offset is an address: an element of a table, at an index that is computed.

Where the address differs between programs, it cannot stay in the offset, which is a constant. Nor may it be added to
the index before the load: that sum wraps around where the load traps. So the sum is checked. With the address less one
in a slot, and the new locals `b` and `t`, `load offset=ADDRESS` is written as

    local.tee b, SLOT, i32.add, local.tee t, i32.const -1, local.get t, local.get b, i32.ge_u, select, load offset=1

which takes the sum if it has not wrapped around, and else the largest number there is: then the load is from 2**32 on,
where no memory has anything, and traps as before.
"""

from __future__ import annotations

from functools import lru_cache

from bacpack.wasm.instructions import op
from bacpack.wasm.leb128 import decode_unsigned, encode_unsigned
from bacpack.wasm.reader import Reader

#: Loads without a prefix. Others, and stores, have an address in the offset too rarely.
LOADS = range(0x28, 0x36)
#: Of a shape: no opcode is like it.
_CHECKED = b"\xff"
_SIGN = 1 << 31
#: Two locals of type i32.
_SCRATCH = b"\x02\x7f"


def checked_load(instruction: bytes) -> tuple[bytes, int] | None:
    """The shape and operand of a load whose offset may be an address: a signed number, the address less one."""
    _, (_, memory, offset) = Reader(instruction).instruction()
    if memory or not 0 < offset < 2 * _SIGN:
        return None
    number = offset - 1
    return _CHECKED + instruction[:2], number - 2 * _SIGN if number >= _SIGN else number


@lru_cache(maxsize=4096)  # most functions declare what others do
def count_locals(parameters: int, declarations: bytes) -> int:
    """How many locals a function has, its parameters included."""
    reader = Reader(declarations)
    count = parameters
    for _ in range(reader.u32("the number of local declarations")):
        count += reader.u32("a number of locals")
        reader.value_type()
    return count


def with_scratch(declarations: bytes) -> bytes:
    """Declarations of locals with `b` and `t` after all others."""
    groups, start = decode_unsigned(declarations)
    return encode_unsigned(groups + 1) + declarations[start:] + _SCRATCH


def without_scratch(declarations: bytes) -> bytes:
    """Declarations as they were without `b` and `t`."""
    groups, start = decode_unsigned(declarations)
    return encode_unsigned(groups - 1) + declarations[start : -len(_SCRATCH)]


def before_address(first: int) -> bytes:
    """What comes before the slot; `first` is the number of `b`, and the next is that of `t`."""
    return op("local.tee", first)


def after_address(first: int) -> bytes:
    """What comes between the slot and the load."""
    base, sum_ = op("local.get", first), op("local.get", first + 1)
    checked = op("i32.const", -1) + sum_ + base + op("i32.ge_u") + op("select")
    return op("i32.add") + op("local.tee", first + 1) + checked


def write_checked_load(instruction: bytes, slot: bytes, first: int) -> bytes:
    """The code of a load whose address less one is what `slot` gives."""
    return before_address(first) + slot + after_address(first) + instruction[:2] + b"\x01"


def read_checked_load(code: bytes, first: int) -> tuple[bytes, int] | None:
    """The shape of the load that follows a slot in `code`, and where it ends, if the slot is for one."""
    if first < 0:
        return None
    after = after_address(first)
    end = len(after) + 3
    load = code[len(after) : end]
    if not code.startswith(after) or len(load) < 3 or load[0] not in LOADS or load[2] != 1:
        return None
    return _CHECKED + load[:2], end
