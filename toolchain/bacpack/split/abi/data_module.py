"""The names and the fix-up function of a data module."""

from __future__ import annotations

from bacpack.split.abi.words import ONE_LOCAL
from bacpack.wasm import FuncType
from bacpack.wasm.instructions import VOID, op
from bacpack.wasm.types import I32

#: The name under which the module exports its function.
LOAD_DATA = "D"
CHAIN_BYTES = 4
FIX_UP_TYPE = FuncType((I32, I32), ())
# Function indices: the environment's `load`, then the module's own.
FIX_UP, LOAD_DATA_INDEX = 1, 2


def write_fix_up(value_bits: int) -> bytes:
    """The code of a function (address, distance) that adds the distance to each word of the chain from the address."""
    address, distance, word = (op("local.get", number) for number in range(3))
    further = word + op("i32.const", value_bits) + op("i32.shr_u")
    value = op("i32.load", 2, 0) + op("local.tee", 2) + op("i32.const", (1 << value_bits) - 1) + op("i32.and")
    code = [
        op("loop", VOID),
        address,
        address + value + distance + op("i32.add") + op("i32.store", 2, 0),
        address + further + op("i32.const", CHAIN_BYTES) + op("i32.mul") + op("i32.add") + op("local.set", 0),
        further + op("br_if", 0),
        op("end"),
    ]
    return ONE_LOCAL + b"".join(code) + op("end")
