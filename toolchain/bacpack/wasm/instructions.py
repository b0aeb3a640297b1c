"""Instructions written by their names in the opcode table, with minimal LEBs."""

from __future__ import annotations

from functools import lru_cache

from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.opcodes import OPCODES

#: The type of a block that takes and gives nothing.
VOID = b"\x40"
#: The declaration that a function has no locals.
NO_LOCALS = b"\0"

_BY_NAME = {row.name: row for row in reversed(OPCODES)}
_SIGNED = {"i32": 32, "i64": 64}


@lru_cache(maxsize=1 << 14)
def op(name: str, *values: int | bytes) -> bytes:
    """The bytes of an instruction.

    `values` are its immediates in order: of a load or store the alignment and the offset, of a block the bytes of its
    type. A constant may be given with or without sign.
    """
    row = _BY_NAME[name]
    bits = _SIGNED.get(row.immediates[0]) if row.immediates else None
    return row.encoding + b"".join([_immediate(value, bits) for value in values])


def _immediate(value: int | bytes, bits: int | None) -> bytes:
    if isinstance(value, bytes):
        return value
    if bits is None:
        return encode_unsigned(value)
    return encode_signed(value - (1 << bits) if value >= 1 << bits - 1 else value)
