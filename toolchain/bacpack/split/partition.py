"""Third stage: which shared functions go together into one module.

The objective, in bytes, is the sum over modules of

    size + MODULE_COST + users * IMPORT_COST + FETCH_WEIGHT * users * size

that is: what is stored, what a module costs by being one, and, at a lower weight, what its users fetch. Functions
start grouped by the exact set of blobs that use them, so that nobody fetches a function it lacks; small groups then
merge where that lowers the sum, or stay behind in the remainders where even that does not pay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bacpack.split.fingerprint import Blob
from bacpack.split.match import SharedFunction

#: Bytes a module takes before its first function: sections, types, and imports of the environment.
MODULE_COST = 600
#: Bytes in each user's remainder: a namespace is 59 bytes, and few modules are used through fewer than two imports.
IMPORT_COST = 150
#: What one byte fetched counts against one byte stored.
FETCH_WEIGHT = 0.02
#: A module of at most 1 MiB is one block, named by the plain hash of its bytes. Code is nearly all of it.
MAX_CODE_BYTES = 960_000


@dataclass(slots=True)
class Group:
    """Shared functions that become one module."""

    #: The blobs that use at least one of them, as a set of bits.
    users: int
    #: Size of their code in bytes.
    size: int = 0
    functions: list[SharedFunction] = field(default_factory=list)


def partition(blobs: Sequence[Blob], shared: Sequence[SharedFunction]) -> list[Group]:
    """Group `shared` into modules, those with most users first; functions in none stay in the remainders."""
    by_users: dict[int, Group] = {}
    for function in shared:
        group = by_users.setdefault(function.users, Group(function.users))
        group.functions.append(function)
        group.size += _size(blobs, function)
    groups = _merge(sorted(by_users.values(), key=lambda group: (group.size, group.users)))
    groups = [group for group in groups if _gain(group) > 0]
    groups.sort(key=lambda group: (-group.users.bit_count(), -group.size, group.users))
    return [part for group in groups for part in chunks(blobs, group)]


def chunks(blobs: Sequence[Blob], group: Group) -> list[Group]:
    """Cut a group that is too large for one block, callees before callers, so that most calls go to lower parts."""
    if group.size <= MAX_CODE_BYTES:
        return [group]
    parts = [Group(group.users)]
    for function in _callees_first(blobs, group.functions):
        size = _size(blobs, function)
        if parts[-1].size + size > MAX_CODE_BYTES and parts[-1].functions:
            parts.append(Group(group.users))
        parts[-1].functions.append(function)
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


def _gain(group: Group) -> float:
    """What the module saves against a copy of each function in the remainder of each of its users."""
    copies: dict[int, int] = defaultdict(int)
    for function in group.functions:
        copies[function.users] += 1
    kept = group.size * sum(users.bit_count() * n for users, n in copies.items()) / len(group.functions)
    return kept - (_cost(group.users, group.size) - FETCH_WEIGHT * group.users.bit_count() * group.size)


def _merge(groups: list[Group]) -> list[Group]:
    """Merge each group, smallest first, into the one where the sum falls most, as long as it falls."""
    merged: list[Group] = []
    while groups:
        small = groups.pop(0)
        best, saving = None, 0.0
        for other in groups:
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
        best.functions += small.functions
    return merged
