"""The data that a remainder holds itself: what no data module writes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bacpack.split.data.image import Image

#: Bytes that differ, over gaps so small that copying them costs less than another copy.
_DIFFERENCE = re.compile(rb"[^\0]+(?:\0{1,12}[^\0]+)*")
#: So many bytes are compared at a time.
_BLOCK = 1 << 16


def own_data(image: Image, written: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Addresses and bytes that turn a memory of zeros, into which others were `written` in order, into `image`.

    All that is written lies within the image's memory.
    """
    places = list(written)
    start = min([image.start, *(address for address, _ in places)])
    end = max([image.start + len(image.content), *(address + len(content) for address, content in places)])
    wanted = bytes(image.start - start) + image.content
    wanted += bytes(end - start - len(wanted))
    memory = bytearray(end - start)
    for address, content in places:
        memory[address - start : address - start + len(content)] = content
    changed = difference(wanted, bytes(memory))
    return [(start + found.start(), wanted[found.start() : found.end()]) for found in _DIFFERENCE.finditer(changed)]


def difference(content: bytes, other: bytes) -> bytes:
    """The bytewise difference of two contents of the same size: zero where they are equal."""
    parts: list[bytes] = []
    for first in range(0, len(content), _BLOCK):
        mine, theirs = content[first : first + _BLOCK], other[first : first + _BLOCK]
        parts.append((int.from_bytes(mine, "little") ^ int.from_bytes(theirs, "little")).to_bytes(len(mine), "little"))
    return b"".join(parts)
