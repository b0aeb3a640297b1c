"""Why functions stayed in the remainders: what `bacpack split --explain` says of each.

Nothing here decides anything. The reasons are read off from what the stages before decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence

from bacpack.split.model.records import CANNOT_MOVE, COPIED, DOES_NOT_PAY, LEFT_OVER, NO_LIBRARY, UNLIKE, KeptFunction
from bacpack.split.shapes.fingerprint import Blob
from bacpack.wasm import Kind, Module


def all_stay(blobs: Sequence[Blob]) -> list[list[KeptFunction]]:
    """The functions of blobs that are written as they are."""
    kept = [range(blob.imported_functions, blob.imported_functions + len(blob.functions)) for blob in blobs]
    return stayed(blobs, [()] * len(blobs), kept)


def unread(module: Module, why: str) -> list[KeptFunction]:
    """The functions of a program that is written as it is, all for one reason, whatever they are."""
    first = len(module.imported(Kind.FUNCTION))
    return [KeptFunction(index, why) for index in range(first, first + len(module.functions))]


def stayed(
    blobs: Sequence[Blob], locations: Sequence[Container[int]], kept: Iterable[Iterable[int]]
) -> list[list[KeptFunction]]:
    """For each blob, the functions `kept` and why; `locations` has those that are in a shared module. All by index."""
    holders: dict[bytes, set[int]] = defaultdict(set)
    unshared: dict[bytes, set[int]] = defaultdict(set)
    for position, blob in enumerate(blobs):
        for index, function in enumerate(blob.functions, blob.imported_functions):
            if function.shape is not None:
                holders[function.shape].add(position)
                if index not in locations[position]:
                    unshared[function.shape].add(position)

    def why(position: int, index: int) -> str:
        blob = blobs[position]
        function = blob.functions[index - blob.imported_functions]
        if function.shape is None:
            return f"{CANNOT_MOVE}{function.reason}"
        if index in locations[position]:
            return COPIED
        if len(blobs) == 1:
            return NO_LIBRARY
        if len(holders[function.shape]) == 1:
            return UNLIKE
        # Functions of one shape are paired as long as two programs have one left: what then is left is in one program.
        return DOES_NOT_PAY if len(unshared[function.shape]) > 1 else LEFT_OVER

    return [[KeptFunction(index, why(position, index)) for index in indices] for position, indices in enumerate(kept)]
