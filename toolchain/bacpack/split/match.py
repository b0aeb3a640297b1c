"""Second stage: which functions of different blobs become one shared function.

A shared function has at most one member in each blob. Any pairing of functions of equal shape is sound: operands that
differ become slots and late-bound calls. So this stage decides only about size, and pairs those that differ least:
functions of one blob with one shape are told apart by their constants, by what they call, and by their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from bacpack.split.fingerprint import CONST, Blob, Function
from bacpack.wasm import Kind

#: Linkers put static data above this address, so smaller constants are sizes, flags and characters: they tell apart.
_LOWEST_ADDRESS = 1024
#: How many calls deep functions are compared by what they call.
_CALL_DEPTH = 3


@dataclass(slots=True)
class SharedFunction:
    """Functions of different blobs that become one."""

    #: For each blob (its position) that has the function, the function's position among those the blob defines.
    members: dict[int, int]

    @property
    def users(self) -> int:
        """The blobs that have it, as a set of bits."""
        return sum(1 << blob for blob in self.members)


def match(blobs: Sequence[Blob]) -> list[SharedFunction]:
    """Pair the functions of `blobs`; return those found in two blobs or more, in a stable order."""
    classes: dict[bytes, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, blob in enumerate(blobs):
        for index, function in enumerate(blob.functions):
            if function.shape is not None:
                classes[function.shape][position].append(index)
    levels = _Levels(blobs)
    shared = []
    for members in classes.values():
        if len(members) == 1:
            continue
        if all(len(indices) == 1 for indices in members.values()):
            shared.append(SharedFunction({blob: indices[0] for blob, indices in members.items()}))
        else:
            shared += _pair(members, levels)
    return shared


def _pair(members: dict[int, list[int]], levels: _Levels) -> Iterable[SharedFunction]:
    """Pair the functions of one shape: first those most alike, then the rest at ever weaker likeness."""
    candidates = [
        (rank, SharedFunction({blob: index}))
        for blob, indices in sorted(members.items())
        for rank, index in enumerate(indices)
    ]
    for level in levels.finest_first:
        groups: dict[Hashable, list[tuple[int, SharedFunction]]] = defaultdict(list)
        for rank, candidate in candidates:
            blob, index = next(iter(candidate.members.items()))
            groups[level(blob, index)].append((rank, candidate))
        candidates = [merged for group in groups.values() for merged in _merge(group)]
    return [candidate for _, candidate in candidates if len(candidate.members) > 1]


def _merge(group: list[tuple[int, SharedFunction]]) -> list[tuple[int, SharedFunction]]:
    """Merge candidates of disjoint users, first fit, those of equal rank in their blobs first."""
    merged: list[tuple[int, SharedFunction]] = []
    group.sort(key=lambda entry: (entry[0], min(entry[1].members)))
    for rank, candidate in group:
        for _, into in merged:
            if into.members.keys().isdisjoint(candidate.members):
                into.members.update(candidate.members)
                break
        else:
            merged.append((rank, candidate))
    return merged


class _Levels:
    """Keys by which functions of equal shape are compared, from equal in everything to equal in shape alone."""

    def __init__(self, blobs: Sequence[Blob]) -> None:
        self._blobs = blobs
        self._keys: list[list[list[Hashable]]] = [[_base_keys(blob) for blob in blobs]]
        for _ in range(_CALL_DEPTH):
            below = self._keys[-1]
            self._keys.append([_with_callees(blob, keys) for blob, keys in zip(blobs, below, strict=True)])

    @property
    def finest_first(self) -> list[Callable[[int, int], Hashable]]:
        """Functions from (blob, function) to a key; functions of equal keys are alike at that level."""
        deepest = self._keys[-1]
        return [
            lambda blob, index: (self._key(deepest, blob, index), self._constants(blob, index, None)),
            lambda blob, index: (self._key(deepest, blob, index), self._constants(blob, index, _LOWEST_ADDRESS)),
            lambda blob, index: self._key(deepest, blob, index),
            lambda blob, index: (self._key(self._keys[1], blob, index), self._constants(blob, index, _LOWEST_ADDRESS)),
            lambda blob, index: self._key(self._keys[1], blob, index),
            lambda blob, index: self._constants(blob, index, _LOWEST_ADDRESS),
            lambda blob, index: None,
        ]

    def _key(self, keys: list[list[Hashable]], blob: int, index: int) -> Hashable:
        return keys[blob][self._blobs[blob].imported_functions + index]

    def _constants(self, blob: int, index: int, below: int | None) -> Hashable:
        function = self._blobs[blob].functions[index]
        return tuple(
            value if below is None or abs(value) < below else None
            for kind, value in zip(function.kinds, function.operands, strict=True)
            if kind == CONST
        )


def _base_keys(blob: Blob) -> list[Hashable]:
    """A key for every function of the blob, imported ones first: the import's name, the shape, or the position."""
    imported: list[Hashable] = [
        (entry.module, entry.name) for entry in blob.module.imports if entry.kind == Kind.FUNCTION
    ]
    return imported + [function.shape or id(function) for function in blob.functions]


def _with_callees(blob: Blob, keys: list[Hashable]) -> list[Hashable]:
    """Refine `keys` by those of the functions that each function calls."""
    first = blob.imported_functions

    def key(index: int, function: Function) -> Hashable:
        callees = tuple([keys[callee] for callee in function.calls])
        return hash((keys[first + index], callees))

    return keys[:first] + [key(index, function) for index, function in enumerate(blob.functions)]
