"""Third stage: which shared functions, or pieces of data, go together into one module.

The objective, in bytes, is the sum over modules of

    size + MODULE_COST + users * IMPORT_COST + FETCH_WEIGHT * users * size

that is: what is stored, what a module costs by being one, and, at a lower weight, what its users fetch. Items start
grouped by the exact set of blobs that use them, so that nobody fetches what it lacks; small groups then merge where
that lowers the sum, or stay behind in the remainders where even that does not pay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from bacpack.split.plan.match import SharedFunction
from bacpack.split.shapes.fingerprint import Blob

#: Bytes a module takes before its first function: sections, types, and imports of the environment.
MODULE_COST = 600
#: Bytes in each user's remainder: a namespace is 59 bytes, and few modules are used through fewer than two imports.
IMPORT_COST = 150
#: What one byte fetched counts against one byte stored.
FETCH_WEIGHT = 0.05
#: Code of one blob alone is put into a module when there is so much of it.
LEAST_OWN_BYTES = 8_192
#: A group is compared with so many others. The 42 programs of the corpus have 164 groups.
_MOST_COMPARED = 512
#: A module of at most 1 MiB is one block, named by the plain hash of its bytes. Code is most of it, slots the rest.
MAX_CODE_BYTES = 900_000


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


def partition(blobs: Sequence[Blob], shared: Sequence[SharedFunction]) -> list[Group[SharedFunction]]:
    """Group `shared` into modules, those with most users first; functions in none stay in the remainders."""
    groups = group_by_users((function, _size(blobs, function)) for function in shared)
    return [part for group in groups for part in chunks(blobs, group)]


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


def own_groups(
    blobs: Sequence[Blob], groups: Sequence[Group[SharedFunction]], placed: Sequence[Container[int]]
) -> list[Group[SharedFunction]]:
    """A group for each blob with much code that is in none of `groups` and not `placed`: others may come that have it.

    It costs its blob a module, and nobody else anything.
    """
    grouped: set[tuple[int, int]] = {
        member for group in groups for function in group.items for member in function.members.items()
    }
    own: list[Group[SharedFunction]] = []
    for number, blob in enumerate(blobs):
        group: Group[SharedFunction] = Group(1 << number)
        for position, function in enumerate(blob.functions):
            is_free = (number, position) not in grouped and blob.imported_functions + position not in placed[number]
            if function.shape is not None and is_free and position not in blob.same:
                group.items.append(SharedFunction({number: position}))
                group.size += function.size
        if group.size >= LEAST_OWN_BYTES:
            own += chunks(blobs, group)
    return own


def chunks(blobs: Sequence[Blob], group: Group[SharedFunction]) -> list[Group[SharedFunction]]:
    """Cut a group that is too large for one block, callees before callers, so that most calls go to lower parts."""
    if group.size <= MAX_CODE_BYTES:
        return [group]
    parts: list[Group[SharedFunction]] = [Group(group.users)]
    for function in _callees_first(blobs, group.items):
        size = _size(blobs, function)
        if parts[-1].size + size > MAX_CODE_BYTES and parts[-1].items:
            parts.append(Group(group.users))
        parts[-1].items.append(function)
        parts[-1].size += size
    return parts


def _callees_first(blobs: Sequence[Blob], functions: Sequence[SharedFunction]) -> list[SharedFunction]:
    """Order functions so that each comes after those it calls, cycles aside."""
    homes = {min(function.members.items()): function for function in functions}
    ordered: dict[tuple[int, int], SharedFunction] = {}
    entered: set[tuple[int, int]] = set()
    for root in homes:
        pending = [(root, False)]
        while pending:
            home, done = pending.pop()
            if done:
                ordered[home] = homes[home]
            elif home not in entered:
                entered.add(home)
                pending.append((home, True))
                blob, index = home
                first = blobs[blob].imported_functions
                callees = [(blob, callee - first) for callee in blobs[blob].functions[index].calls]
                pending += [(callee, False) for callee in reversed(callees) if callee in homes]
    return list(ordered.values())


def _size(blobs: Sequence[Blob], function: SharedFunction) -> int:
    blob, index = next(iter(function.members.items()))
    return blobs[blob].functions[index].size


def _cost(users: int, size: int) -> float:
    count = users.bit_count()
    return size + MODULE_COST + count * IMPORT_COST + FETCH_WEIGHT * count * size


def _gain(group: Group[T]) -> float:
    """What the module saves against a copy of each item in the remainder of each of its users."""
    copies: dict[int, int] = defaultdict(int)
    for item in group.items:
        copies[item.users] += 1
    kept = group.size * sum(users.bit_count() * n for users, n in copies.items()) / len(group.items)
    return kept - (_cost(group.users, group.size) - FETCH_WEIGHT * group.users.bit_count() * group.size)


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
                _cost(small.users, small.size) + _cost(other.users, other.size) - _cost(union, small.size + other.size)
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
