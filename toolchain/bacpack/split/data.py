"""The data segments of a remainder."""

from __future__ import annotations

from bacpack.split.elements import constant_offset
from bacpack.wasm import Module
from bacpack.wasm.types import Data, Mode

#: Size of a memory page.
PAGE_BYTES = 65_536
#: Segments with a gap of at most so many bytes are joined: copying another one takes more.
_LARGEST_GAP = 12


def merged_data(module: Module, *, keep_numbers: bool) -> list[tuple[Data, bytes]]:
    """The data segments and their contents, neighbours joined over small gaps unless their numbers must be kept.

    A gap is filled with zeros, which is what a memory holds that nobody wrote to: so a segment is joined only to one
    that reaches further than all before it, and only where both certainly fit.
    """
    joined: list[tuple[Data, bytearray]] = []
    size = module.memories[0].minimum * PAGE_BYTES if module.memories else 0
    highest: int | None = 0  # up to where memory may have been written; None once that is not known
    joinable = False
    for data in module.data_segments:
        content = module.data[data.start : data.end]
        if data.mode == Mode.PASSIVE or data.memory:
            joined.append((data, bytearray(content)))
            joinable = False
            continue
        offset = constant_offset(data.offset)
        end = None if offset is None or offset + len(content) > size else offset + len(content)
        if end is None or offset is None or highest is None:
            joined.append((data, bytearray(content)))
            highest, joinable = None, False
            continue
        if joinable and 0 <= offset - highest <= _LARGEST_GAP:
            joined[-1][1].extend(bytes(offset - highest) + content)
        else:
            joined.append((data, bytearray(content)))
        joinable = end >= highest and not keep_numbers
        highest = max(highest, end)
    return [(data, bytes(content)) for data, content in joined]
