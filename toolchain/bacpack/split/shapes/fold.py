"""Functions of one blob that are the same: equal code, equal constants, and calls of functions that are the same.

Compilers make many such, one for each type that a generic function is used with. One of them can stand for all: which
of several equal functions a call reaches makes no difference, and WebAssembly cannot tell references apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from bacpack.split.shapes.fingerprint import CALL, Blob


def fold(blob: Blob) -> dict[int, int]:
    """For each function that another one can stand for, that one: positions in `blob.functions`."""
    classes: dict[Hashable, list[int]] = defaultdict(list)
    for position, function in enumerate(blob.functions):
        if function.shape is not None:
            constants = [value for kind, value in zip(function.kinds, function.operands, strict=True) if kind != CALL]
            classes[function.shape, *constants].append(position)
    groups = [members for members in classes.values() if len(members) > 1]
    # Functions are taken to be the same until they are seen to call different ones.
    while True:
        names = {position: group[0] for group in groups for position in group}
        finer: list[list[int]] = []
        for group in groups:
            by_callees: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for position in group:
                callees = (callee - blob.imported_functions for callee in blob.functions[position].calls)
                by_callees[tuple([names.get(callee, callee) for callee in callees])].append(position)
            finer += [members for members in by_callees.values() if len(members) > 1]
        if sum(map(len, finer)) == sum(map(len, groups)) and len(finer) == len(groups):
            return {position: group[0] for group in groups for position in group[1:]}
        groups = finer
