"""The part of the protobuf wire format that dag-pb and UnixFS use: integers and byte strings.

Specification: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

from bacpack.content.varint import decode_varint, encode_varint

_INTEGER, _BYTES = 0, 2


def integer_field(number: int, value: int) -> bytes:
    """Return field `number` holding `value`."""
    return bytes((number << 3 | _INTEGER,)) + encode_varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Return field `number` holding `value`."""
    return bytes((number << 3 | _BYTES,)) + encode_varint(len(value)) + value


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and value; raises `ValueError` when the bytes are no such message."""
    offset, end = 0, len(data)
    while offset < end:
        key, offset = decode_varint(data, offset)
        kind = key & 7
        if kind == _INTEGER:
            value, offset = decode_varint(data, offset)
            yield key >> 3, value
        elif kind == _BYTES:
            length, offset = decode_varint(data, offset)
            if offset + length > end:
                raise ValueError(f"field {key >> 3} is cut short")
            yield key >> 3, data[offset : offset + length]
            offset += length
        else:
            raise ValueError(f"field {key >> 3} has wire type {kind}, which is not used here")
