"""Functions that so many others need that they must fit the next program, whatever moved in it.

Direct calls are fixed once a module is written. If one function of it does not fit a program to come, because two
addresses that one slot serves have moved apart there, then what calls it does not fit either, and what calls that. So
what much depends on has a slot for each address, where other functions share slots to save the setting of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from bacpack.split.plan.matching import SharedFunction
from bacpack.split.shapes.fingerprint import Blob

#: A function is a hub if at least so many others call it, directly or through others.
_LEAST_CALLERS = 8

Location = tuple[int, int]


def hubs(
    blobs: Sequence[Blob],
    modules: Sequence[Sequence[SharedFunction]],
    locations: Sequence[Mapping[int, Location]],
    first: int,
) -> set[Location]:
    """Return the functions of `modules` that are hubs, each by its module's number, from `first`, and its position.

    `locations` says where each function of each blob is, as in `resolve.Plan`.
    """
    callers: dict[Location, set[Location]] = defaultdict(set)
    for number, functions in enumerate(modules, first):
        for position, function in enumerate(functions):
            blob, index = min(function.members.items())
            for callee in set(blobs[blob].functions[index].calls):
                location = locations[blob].get(callee)
                if location and location[0] >= first:
                    callers[location].add((number, position))
    return {location for location in callers if _has_many_callers(location, callers)}


def _has_many_callers(location: Location, callers: Mapping[Location, set[Location]]) -> bool:
    seen: set[Location] = set()
    pending = [location]
    while pending and len(seen) <= _LEAST_CALLERS:
        new = callers.get(pending.pop(), set()) - seen
        seen |= new
        pending += new
    return len(seen - {location}) >= _LEAST_CALLERS
