"""What a worker is told of where a module is refused memory is what the runtime finds in its code."""

from __future__ import annotations

import random

from bacnode.runtime.growth_traps import growths, refused_growth_at

PIECES = (b"\x40\x00", b"\xfc\x0f\x00", b"\x41\x7f\x46\x04\x40\x00", b"\x41\x7f", b"\x00")


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
