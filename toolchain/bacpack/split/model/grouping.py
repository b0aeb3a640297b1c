"""Items grouped by who uses them, as the objective says.

They start grouped by the exact set of blobs that use them, so that nobody fetches what it lacks; small groups then
merge where that lowers the sum, or stay behind in the remainders where even that does not pay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from bacpack.split.model.costs import FETCH_WEIGHT, cost

#: A group is compared with so many others. The 42 programs of the corpus have 164 groups.
_MOST_COMPARED = 512


class Shareable(Protocol):
    """A function or a piece of data."""

    @property
    def users(self) -> int:
        """The blobs that have it, as a set of bits."""


T = TypeVar("T", bound=Shareable)


@dataclass(slots=True)
class Group(Generic[T]):
    """What becomes one module."""

    #: The blobs that use at least one of its items, as a set of bits.
    users: int
    #: Size of the items in bytes.
    size: int = 0
    items: list[T] = field(default_factory=list)


def group_by_users(items: Iterable[tuple[T, int]]) -> list[Group[T]]:
    """Group items, given with their sizes, as the objective says, those with most users first."""
    by_users: dict[int, Group[T]] = {}
    for item, size in items:
        group = by_users.setdefault(item.users, Group(item.users))
        group.items.append(item)
        group.size += size
    groups = _merge(sorted(by_users.values(), key=lambda group: (group.size, group.users)))
    groups = [group for group in groups if _gain(group) > 0]
    return sorted(groups, key=lambda group: (-group.users.bit_count(), -group.size, group.users))


def _gain(group: Group[T]) -> float:
    """What the module saves against a copy of each item in the remainder of each of its users."""
    copies: dict[int, int] = defaultdict(int)
    for item in group.items:
        copies[item.users] += 1
    kept = group.size * sum(users.bit_count() * n for users, n in copies.items()) / len(group.items)
    return kept - (cost(group.users, group.size) - FETCH_WEIGHT * group.users.bit_count() * group.size)


def _merge(groups: list[Group[T]]) -> list[Group[T]]:
    """Merge each group, smallest first, into the one where the sum falls most, as long as it falls.

    It is held against the largest that are left, and not against all where there are very many.
    """
    merged: list[Group[T]] = []
    for position, small in enumerate(groups, 1):
        best, saving = None, 0.0
        for other in groups[max(position, len(groups) - _MOST_COMPARED) :]:
            union = small.users | other.users
            change = (
                cost(small.users, small.size) + cost(other.users, other.size) - cost(union, small.size + other.size)
            )
            if change > saving:
                best, saving = other, change
        if best is None:
            merged.append(small)
            continue
        best.users |= small.users
        best.size += small.size
        best.items += small.items
    return merged
