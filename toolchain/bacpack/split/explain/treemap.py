"""Squarified treemaps: rectangles whose areas are as given, and as near to squares as they come.

Source: Bruls, Huizing, van Wijk, "Squarified Treemaps", Data Visualization 2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; y goes down."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """What it covers."""
        return self.width * self.height


def squarify(sizes: Sequence[int], box: Box) -> list[Box]:
    """Divide `box` by `sizes`, which are positive; return a box for each, in their order."""
    boxes = [box] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda position: -sizes[position])
    ordered = [sizes[position] for position in order]
    left, rest, at = sum(ordered), box, 0
    while at < len(ordered):
        count = _row_length(ordered, at, rest, left)
        row = ordered[at : at + count]
        placed, rest = _place(row, rest, left)
        for position, place in zip(order[at : at + count], placed, strict=True):
            boxes[position] = place
        left -= sum(row)
        at += count
    return boxes


def _row_length(ordered: Sequence[int], at: int, rest: Box, left: int) -> int:
    """How many of `ordered`, the largest first, to put from `at` on in a row along the shorter side of `rest`."""
    side = min(rest.width, rest.height)
    if rest.area <= 0:  # what is left is too small for any number
        return len(ordered) - at
    scale = rest.area / left
    total = ordered[at]
    best = _worst(total, total, total, side, scale)
    for end in range(at + 1, len(ordered)):
        worst = _worst(ordered[at], ordered[end], total + ordered[end], side, scale)
        if worst > best:
            return end - at
        total, best = total + ordered[end], worst
    return len(ordered) - at


def _worst(largest: int, smallest: int, total: int, side: float, scale: float) -> float:
    """The highest ratio of sides in a row of `total`, along `side`."""
    thickness = total * scale / side
    long, short = largest * scale / thickness, smallest * scale / thickness
    return max(long / thickness, thickness / short)


def _place(row: Sequence[int], rest: Box, left: int) -> tuple[list[Box], Box]:
    """Lay a row along the shorter side of `rest`; return its boxes and what is left."""
    total = sum(row)
    share = total / left
    placed: list[Box] = []
    before = 0
    for size in row:
        first, part = before / total, size / total
        if rest.width >= rest.height:
            placed.append(Box(rest.x, rest.y + rest.height * first, rest.width * share, rest.height * part))
        else:
            placed.append(Box(rest.x + rest.width * first, rest.y, rest.width * part, rest.height * share))
        before += size
    if rest.width >= rest.height:
        thickness = rest.width * share
        return placed, Box(rest.x + thickness, rest.y, rest.width - thickness, rest.height)
    thickness = rest.height * share
    return placed, Box(rest.x, rest.y + thickness, rest.width, rest.height - thickness)
