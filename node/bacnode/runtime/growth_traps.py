"""Where code traps because it was refused memory, and for nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Code that traps when memory or a table is refused to grow, and for nothing else: `memory.grow` or `table.grow`,
#: `i32.const -1`, `i32.eq`, `if`, `unreachable`. A split program so takes in its start section what its blob declares.
_TRAP_UNLESS_GROWN = re.compile(rb"(\x40\x00|\xfc\x0f\x00)\x41\x7f\x46\x04\x40\x00")
_UNLESS_GROWN_END = b"\x41\x7f\x46\x04\x40\x00"


def growths(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ranges of offsets at which a module traps because it was refused memory."""
    # Found by the end that all have in common, which is much faster than to look for the pattern everywhere.
    at = data.find(_UNLESS_GROWN_END)
    while at >= 0:
        for start in (at - 2, at - 3):
            found = _TRAP_UNLESS_GROWN.match(data, start) if start >= 0 else None
            if found is not None and found.end() == at + len(_UNLESS_GROWN_END):
                yield found.end() - 3, start + 8
        at = data.find(_UNLESS_GROWN_END, at + 1)
