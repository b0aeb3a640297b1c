"""Third stage: which shared functions go together into one module. What that costs: see `model/costs`."""

from __future__ import annotations

from collections.abc import Container, Sequence

from bacpack.split.model.costs import LEAST_OWN_BYTES, MAX_CODE_BYTES
from bacpack.split.model.grouping import Group, group_by_users
from bacpack.split.plan.matching import SharedFunction
from bacpack.split.shapes.fingerprint import Blob


def partition(blobs: Sequence[Blob], shared: Sequence[SharedFunction]) -> list[Group[SharedFunction]]:
    """Group `shared` into modules, those with most users first; functions in none stay in the remainders."""
    groups = group_by_users((function, _size(blobs, function)) for function in shared)
    return [part for group in groups for part in chunks(blobs, group)]


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
    locations = {min(function.members.items()): function for function in functions}
    ordered: dict[tuple[int, int], SharedFunction] = {}
    entered: set[tuple[int, int]] = set()
    for root in locations:
        pending = [(root, False)]
        while pending:
            location, done = pending.pop()
            if done:
                ordered[location] = locations[location]
            elif location not in entered:
                entered.add(location)
                pending.append((location, True))
                blob, index = location
                first = blobs[blob].imported_functions
                callees = [(blob, callee - first) for callee in blobs[blob].functions[index].calls]
                pending += [(callee, False) for callee in reversed(callees) if callee in locations]
    return list(ordered.values())


def _size(blobs: Sequence[Blob], function: SharedFunction) -> int:
    blob, index = next(iter(function.members.items()))
    return blobs[blob].functions[index].size
