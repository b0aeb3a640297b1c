"""The ranges in which a module is refused memory are those that its code has at each offset."""

from __future__ import annotations

import random
import re

from bacnode.runtime.growth_traps import growths

PIECES = (b"\x40\x00", b"\xfc\x0f\x00", b"\x41\x7f\x46\x04\x40\x00", b"\x41\x7f", b"\x00")


#: `memory.grow` or `table.grow`, `i32.const -1`, `i32.eq`, `if`, `unreachable`.
TRAP_UNLESS_GROWN = re.compile(rb"(\x40\x00|\xfc\x0f\x00)\x41\x7f\x46\x04\x40\x00")


def refused_growth_at(data: bytes, at: int) -> bool:
    # The engine may name the `if` as well as the `unreachable` in it.
    return TRAP_UNLESS_GROWN.search(data, max(at - 8, 0), at + 3) is not None


def test_ranges_are_those_of_the_code() -> None:
    chosen = random.Random(1)
    found = 0
    for _ in range(500):
        data = b"".join(chosen.choice(PIECES) for _ in range(12))
        ranges = list(growths(data))
        found += len(ranges)
        for at in range(len(data)):
            assert any(first <= at <= last for first, last in ranges) == refused_growth_at(data, at)
    assert found > 100
