"""Functions of one blob that are the same: equal code, equal constants, and calls of functions that are the same.

Compilers make many such, one for each type that a generic function is used with. One of them can stand for all: which
of several equal functions a call reaches makes no difference, and WebAssembly cannot tell references apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain

from bacpack.split.shapes.fingerprint import CALL, Blob


def find_identical(blob: Blob) -> dict[int, int]:
    """For each function that another one can stand for, that one: positions in `blob.functions`."""
    classes: dict[Hashable, list[int]] = defaultdict(list)
    for position, function in enumerate(blob.functions):
        if function.shape is not None:
            constants = [value for kind, value in zip(function.kinds, function.operands, strict=True) if kind != CALL]
            classes[function.shape, *constants].append(position)
    groups = _refine(blob, [members for members in classes.values() if len(members) > 1])
    return {position: group[0] for group in groups for position in group[1:]}


def _refine(blob: Blob, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Divide groups until the members of each call the same, function by function; return those of two or more.

    Functions are taken to be the same until they are seen to call different ones. Of a group that is divided, the
    largest part keeps its number, and only the callers of the others are looked at again: so a function gets another
    number a few times at most, however long the chains are in which functions call each other.
    """
    first = blob.imported_functions
    parts = [set(group) for group in groups]
    number_of = {position: number for number, part in enumerate(parts) for position in part}
    callees = {position: [callee - first for callee in blob.functions[position].calls] for position in number_of}
    callers: dict[int, list[int]] = defaultdict(list)
    for position, called in callees.items():
        for callee in set(called):
            if callee in number_of:
                callers[callee].append(position)
    #: What the members of each part call: the number of a part, or below zero a function that is in none.
    calls: list[tuple[int, ...]] = [()] * len(parts)
    changed: Iterable[int] = number_of
    while changed:
        seen: dict[int, dict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
        for position in changed:
            numbers = tuple([number_of.get(callee, ~(callee + first)) for callee in callees[position]])
            seen[number_of[position]][numbers].append(position)
        leaving: list[int] = []
        for number, found in seen.items():
            part = parts[number]
            unchanged = len(part) - sum(map(len, found.values()))
            if unchanged >= max(map(len, found.values())):
                found.pop(calls[number], None)  # they call what those call that are unchanged
            else:
                if unchanged:
                    found[calls[number]] += part.difference(chain.from_iterable(found.values()))
                calls[number] = max(found, key=lambda numbers: len(found[numbers]))
                del found[calls[number]]
            for numbers, positions in found.items():
                part.difference_update(positions)
                number_of.update(dict.fromkeys(positions, len(parts)))
                parts.append(set(positions))
                calls.append(numbers)
                leaving += positions
        changed = {caller for position in leaving for caller in callers[position]}
    return sorted(sorted(part) for part in parts if len(part) > 1)
