"""The names and the fix-up function of a data module."""

from __future__ import annotations

from bacpack.split.abi.words import ONE_LOCAL
from bacpack.wasm import FuncType, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import I32

#: The name under which the module exports its function.
LOAD_DATA = "D"
CHAIN_BYTES = 4
WALK_TYPE = FuncType((I32, I32), ())
# Function indices: the environment's `load`, then the module's own.
WALK, LOAD_DATA_INDEX = 1, 2
GET, SET, TEE = b"\x20", b"\x21", b"\x22"
ADD, AND, SHIFT_RIGHT, MULTIPLY = b"\x6a", b"\x71", b"\x76", b"\x6c"
LOAD, STORE = b"\x28\x02\x00", b"\x36\x02\x00"
VOID = b"\x40"


def walk(value_bits: int) -> bytes:
    """The code of a function (address, distance) that adds the distance to each word of the chain from the address."""
    address, distance, word = (GET + encode_unsigned(number) for number in range(3))
    further = word + writer.i32_const(value_bits) + SHIFT_RIGHT
    mask = (1 << value_bits) - 1
    code = [
        b"\x03" + VOID,  # loop
        address,
        address + LOAD + TEE + encode_unsigned(2),
        writer.i32_const(mask - (1 << 32) if mask >= 1 << 31 else mask) + AND + distance + ADD + STORE,
        address + further + writer.i32_const(CHAIN_BYTES) + MULTIPLY + ADD + SET + encode_unsigned(0),
        further + b"\x0d\0",  # br_if
        writer.END,
    ]
    return ONE_LOCAL + b"".join(code) + writer.END
