"""Unsigned variable-length integers, as CIDs, CAR files and protobuf write them.

Specification: https://github.com/multiformats/unsigned-varint. Seven bits a byte, lowest first; the high bit says that
another byte follows.
"""

from __future__ import annotations

#: Longest encoding the specification allows: nine bytes hold 63 bits.
MAX_VARINT_BYTES = 9


def encode_varint(value: int) -> bytes:
    """Return the shortest encoding of `value`, which is from 0 to 2**63 - 1."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode_varint(data: bytes | memoryview, offset: int = 0) -> tuple[int, int]:
    """Read the integer at `offset`; return it and the offset after it.

    Raises `ValueError`, whose message needs only a place put before it, when the bytes end inside the integer, when it
    is longer than nine bytes, and when a shorter encoding of the same value exists.
    """
    if offset < len(data) and data[offset] < 0x80:  # most are so short
        return data[offset], offset + 1
    value = shift = 0
    for position in range(offset, min(offset + MAX_VARINT_BYTES, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise ValueError("the variable-length integer is not in its shortest form")
            return value, position + 1
        shift += 7
    if shift == 7 * MAX_VARINT_BYTES:
        raise ValueError(f"the variable-length integer is longer than {MAX_VARINT_BYTES} bytes")
    raise ValueError("the variable-length integer is cut short")
