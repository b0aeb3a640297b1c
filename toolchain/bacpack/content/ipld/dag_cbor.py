"""dag-cbor, as CAR headers and linked documents use it: a strict subset of CBOR in which a value has one encoding.

Specification: https://ipld.io/specs/codecs/dag-cbor/spec/. What has a shorter encoding, unsorted or repeated keys,
indefinite lengths, tags but 42, and what follows the value are errors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import TypeAlias

from bacpack.content.cid.block import BadBlockError
from bacpack.content.cid.cid import BadCidError, Cid

Value: TypeAlias = "bool | int | float | str | bytes | Cid | list[Value] | dict[str, Value] | None"

#: Deepest nesting that is read, well inside the interpreter's own limit.
MAX_NESTING = 128

_CID_TAG = 42


def encode(value: Value) -> bytes:
    """Return the encoding of `value`, made of integers, strings, links, lists and maps."""
    match value:
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            text = value.encode("utf-8")
            return _head(3, len(text)) + text
        case list():
            return _head(4, len(value)) + b"".join(map(encode, value))
        case dict():
            pairs = sorted((encode(key), encode(item)) for key, item in value.items())
            return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
        case Cid():
            # The zero byte is the multibase prefix of bytes written as they are.
            return _head(6, _CID_TAG) + encode(b"\0" + bytes(value))
        case _:
            raise TypeError(f"{type(value).__name__} is not written here")


def decode(data: bytes, cid: Cid | None = None) -> Value:
    """Read the value that is all of `data`; raises `BadBlockError`, naming `cid`."""
    try:
        value, end = _decode(data, 0, 0)
        if end != len(data):
            raise ValueError(f"{len(data) - end} bytes follow the value")
    except (ValueError, BadCidError) as error:
        raise BadBlockError(cid, f"as dag-cbor, {error}") from None
    return value


def links_in_cbor(data: bytes, cid: Cid) -> list[Cid]:
    """Return the links in the block `cid`, in order; raises `BadBlockError`."""
    return list(links_in(decode(data, cid)))


def links_in(value: Value) -> Iterator[Cid]:
    """Yield the links in a value, in order."""
    if isinstance(value, Cid):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from links_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from links_in(item)


def _head(kind: int, value: int) -> bytes:
    if value < 24:
        return bytes((kind << 5 | value,))
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes((kind << 5 | extra,)) + value.to_bytes(size, "big")
    raise ValueError("the number is larger than 64 bits")


def _read_head(data: bytes, offset: int) -> tuple[int, int, int]:
    """Return the kind (major type), the number that goes with it, and the offset after it."""
    if offset >= len(data):
        raise ValueError(f"it is cut short at byte {offset}")
    kind, extra = data[offset] >> 5, data[offset] & 31
    offset += 1
    if extra < 24:
        return kind, extra, offset
    if extra > 27:
        raise ValueError(f"byte {offset - 1} is of no use in dag-cbor")
    size = 1 << extra - 24
    if offset + size > len(data):
        raise ValueError(f"it is cut short at byte {offset}")
    value = int.from_bytes(data[offset : offset + size], "big")
    if kind != 7 and value < (24 if size == 1 else 1 << 4 * size):
        raise ValueError(f"the number at byte {offset - 1} is not in its shortest form")
    return kind, value, offset + size


def _decode(data: bytes, offset: int, depth: int) -> tuple[Value, int]:
    if depth > MAX_NESTING:
        raise ValueError(f"it is nested more than {MAX_NESTING} levels deep")
    start = offset
    kind, number, offset = _read_head(data, offset)
    match kind:
        case 0 | 1:
            return number if kind == 0 else -1 - number, offset
        case 2 | 3:
            if offset + number > len(data):
                raise ValueError(f"it is cut short in the string at byte {start}")
            content = data[offset : offset + number]
            return content if kind == 2 else content.decode("utf-8"), offset + number
        case 4:
            return _decode_list(data, offset, number, depth)
        case 5:
            return _decode_map(data, offset, number, depth)
        case 6:
            if number != _CID_TAG:
                raise ValueError(f"tag {number} at byte {start} is of no use in dag-cbor")
            link, offset = _decode(data, offset, depth + 1)
            if not isinstance(link, bytes) or not link.startswith(b"\0"):
                raise ValueError(f"the link at byte {start} is no CID")
            return Cid.from_bytes(link[1:]), offset
        case _:
            return _decode_simple(data, start, offset)


def _decode_list(data: bytes, offset: int, count: int, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    for _ in range(count):
        item, offset = _decode(data, offset, depth + 1)
        items.append(item)
    return items, offset


def _decode_map(data: bytes, offset: int, count: int, depth: int) -> tuple[dict[str, Value], int]:
    items: dict[str, Value] = {}
    last = b""
    for _ in range(count):
        start = offset
        key, offset = _decode(data, offset, depth + 1)
        if not isinstance(key, str):
            raise ValueError(f"the key at byte {start} is no text")
        # Shorter keys first, then by their bytes: the order of the encodings, which start with the length.
        if last >= data[start:offset]:
            raise ValueError(f"the key at byte {start} is repeated or out of order")
        last = data[start:offset]
        items[key], offset = _decode(data, offset, depth + 1)
    return items, offset


def _decode_simple(data: bytes, start: int, end: int) -> tuple[Value, int]:
    match data[start]:
        case 0xF4:
            return False, end
        case 0xF5:
            return True, end
        case 0xF6:
            return None, end
        case 0xFB:
            number: float = struct.unpack(">d", data[start + 1 : end])[0]
            if math.isfinite(number):
                return number, end
    raise ValueError(f"byte {start} is of no use in dag-cbor")
