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

Home = tuple[int, int]


def hubs(
    blobs: Sequence[Blob], modules: Sequence[Sequence[SharedFunction]], homes: Sequence[Mapping[int, Home]], first: int
) -> set[Home]:
    """Return the functions of `modules` that are hubs, each by its module's number, from `first`, and its position.

    `homes` says where each function of each blob is, as in `resolve.Plan`.
    """
    callers: dict[Home, set[Home]] = defaultdict(set)
    for number, functions in enumerate(modules, first):
        for position, function in enumerate(functions):
            blob, index = min(function.members.items())
            for callee in set(blobs[blob].functions[index].calls):
                home = homes[blob].get(callee)
                if home and home[0] >= first:
                    callers[home].add((number, position))
    return {home for home in callers if _has_many_callers(home, callers)}


def _has_many_callers(home: Home, callers: Mapping[Home, set[Home]]) -> bool:
    seen: set[Home] = set()
    pending = [home]
    while pending and len(seen) <= _LEAST_CALLERS:
        new = callers.get(pending.pop(), set()) - seen
        seen |= new
        pending += new
    return len(seen - {home}) >= _LEAST_CALLERS
