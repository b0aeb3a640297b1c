"""The part of the protobuf wire format that dag-pb and UnixFS use: integers and byte strings.

Specification: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

from bacpack.content.cid.varint import decode_varint, encode_varint

_INTEGER, _BYTES = 0, 2
#: Bytes of the values that have a fixed length, by their wire type. No field that is known here has one.
_FIXED = {1: 8, 5: 4}
#: Longest encoding of an integer, of which 64 bits count.
_MAX_BYTES = 10


def integer_field(number: int, value: int) -> bytes:
    """Return field `number` holding `value`."""
    return bytes((number << 3 | _INTEGER,)) + encode_varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Return field `number` holding `value`."""
    return bytes((number << 3 | _BYTES,)) + encode_varint(len(value)) + value


def read_fields(data: bytes, *, strict: bool) -> Iterator[tuple[int, int | bytes | None]]:
    """Yield each field's number and value, None for a value of fixed length.

    `strict` is how dag-pb is read: every integer in its shortest form, and no value of fixed length. Raises
    `ValueError` when the bytes are no such message.
    """
    read = decode_varint if strict else _read_integer
    offset, end = 0, len(data)
    while offset < end:
        key, offset = read(data, offset)
        number, kind = key >> 3, key & 7
        if kind == _INTEGER:
            value, offset = read(data, offset)
            yield number, value
            continue
        length = None if strict else _FIXED.get(kind)
        if kind == _BYTES:
            length, offset = read(data, offset)
        if length is None:
            raise ValueError(f"field {number} has wire type {kind}, which is not used here")
        if offset + length > end:
            raise ValueError(f"field {number} is cut short")
        yield number, data[offset : offset + length] if kind == _BYTES else None
        offset += length


def packed_integers(data: bytes) -> Iterator[int]:
    """Yield the integers of a repeated field in its packed form; raises `ValueError`."""
    offset = 0
    while offset < len(data):
        value, offset = _read_integer(data, offset)
        yield value


def _read_integer(data: bytes, offset: int) -> tuple[int, int]:
    """Return the integer at `offset` and the offset after it; unlike those of CIDs it may be longer than it need be."""
    if offset < len(data) and data[offset] < 0x80:  # most are so short
        return data[offset], offset + 1
    value = 0
    for position, byte in enumerate(data[offset : offset + _MAX_BYTES]):
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value & (1 << 64) - 1, offset + position + 1
    raise ValueError("a variable-length integer is cut short, or longer than ten bytes")
