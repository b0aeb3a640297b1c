"""The memory that a blob's data segments describe, as one run of bytes, when its data may be shared at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from bacpack.split.shapes.fingerprint import Blob
from bacpack.split.shapes.table_entries import constant_offset
from bacpack.wasm import Kind, Module
from bacpack.wasm.types import Mode

#: Size of a memory page.
PAGE_BYTES = 65_536
#: Segments that lie further apart than this in all are no image worth having.
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """What memory 0 holds before a program's own code runs."""

    #: Address of the first byte of `content`, a multiple of four.
    start: int
    content: bytes
    #: Size of the memory at the start, in bytes.
    size: int


def image(blob: Blob) -> Image | None:
    """The memory that `blob` starts with; None when its segments must stay as they are.

    They may be written in any other way, and in any order, when all are active, go to constant places of a memory that
    the blob defines, and certainly fit there, and when no code names them.
    """
    module = blob.module
    if blob.names_segments or module.imported(Kind.MEMORY) or not module.memories:
        return None
    size = module.memories[0].minimum * PAGE_BYTES
    places: list[tuple[int, bytes]] = []
    for data in module.data_segments:
        offset = constant_offset(data.offset)
        content = module.data[data.start : data.end]
        if data.mode != Mode.ACTIVE or data.memory or offset is None or offset + len(content) > size:
            return None
        if content:
            places.append((offset, content))
    start = min((offset for offset, _ in places), default=0) & ~3
    end = max((offset + len(content) for offset, content in places), default=0)
    if end - start > _MOST_BYTES:
        return None
    memory = bytearray(end - start)
    for offset, content in places:
        memory[offset - start : offset - start + len(content)] = content
    return Image(start, bytes(memory), size)


@lru_cache(maxsize=256)
def address_range(module: Module) -> range:
    """The addresses of static data, as far as can be seen: from the lowest data segment to the end of the memory."""
    offsets = [constant_offset(data.offset) for data in module.data_segments if data.mode == Mode.ACTIVE]
    known = [offset for offset in offsets if offset is not None]
    if not known or not module.memories:
        return range(0)
    return range(min(known), module.memories[0].minimum * PAGE_BYTES)
