"""Second stage: which functions of different blobs become one shared function.

A shared function has at most one member in each blob. Any pairing of functions of equal shape is sound: operands that
differ become slots and late-bound calls. So this stage decides only about size, and pairs those that differ least:
functions of one blob with one shape are told apart by their constants, by what they call, and by their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from bacpack.split.shapes.fingerprint import CONSTANTS, Blob
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


def match(blobs: Sequence[Blob], placed: Sequence[Container[int]] = ()) -> list[SharedFunction]:
    """Pair the functions of `blobs`; return those found in two blobs or more, in a stable order.

    Functions that are `placed` already, given by index for each blob, are left out, and those that others stand for.
    """
    classes: dict[bytes, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, blob in enumerate(blobs):
        for index, function in enumerate(blob.functions):
            if function.shape is None or index in blob.same:
                continue
            if not (placed and blob.imported_functions + index in placed[position]):
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
    # Positions in `merged` by users: of those that have the same, only the first can be the first that fits.
    by_users: dict[int, list[int]] = {}
    for rank, candidate in group:
        users = candidate.users
        fitting = [(places[0], other) for other, places in by_users.items() if not other & users]
        if fitting:
            place, other = min(fitting)
            heappop(by_users[other])
            if not by_users[other]:
                del by_users[other]
            merged[place][1].members.update(candidate.members)
            users |= other
        else:
            place = len(merged)
            merged.append((rank, candidate))
        heappush(by_users.setdefault(users, []), place)
    return merged


class _Levels:
    """Keys by which functions of equal shape are compared, from equal in everything to equal in shape alone.

    Few functions share their shape with others of their blob, so keys are worked out when they are asked for.
    """

    def __init__(self, blobs: Sequence[Blob]) -> None:
        self._blobs = blobs
        self._imports = [blob.module.imported(Kind.FUNCTION) for blob in blobs]
        self._calls: dict[tuple[int, int], list[int]] = {}
        self._keys: dict[tuple[int, int, int], Hashable] = {}

    @property
    def finest_first(self) -> list[Callable[[int, int], Hashable]]:
        """Functions from (blob, function) to a key; functions of equal keys are alike at that level."""
        return [
            lambda blob, index: (self._deep(_CALL_DEPTH, blob, index), self._constants(blob, index, None)),
            lambda blob, index: (self._deep(_CALL_DEPTH, blob, index), self._constants(blob, index, _LOWEST_ADDRESS)),
            lambda blob, index: self._deep(_CALL_DEPTH, blob, index),
            lambda blob, index: (self._deep(1, blob, index), self._constants(blob, index, _LOWEST_ADDRESS)),
            lambda blob, index: self._deep(1, blob, index),
            lambda blob, index: self._constants(blob, index, _LOWEST_ADDRESS),
            lambda blob, index: None,
        ]

    def _deep(self, depth: int, blob: int, index: int) -> Hashable:
        return self._key(depth, blob, len(self._imports[blob]) + index)

    def _key(self, depth: int, blob: int, index: int) -> Hashable:
        """What a function is, refined `depth` times by what the functions that it calls are."""
        place = depth, blob, index
        key = self._keys.get(place)
        if key is None:
            key = self._keys[place] = self._refined(depth, blob, index) if depth else self._base(blob, index)
        return key

    def _refined(self, depth: int, blob: int, index: int) -> Hashable:
        callees = tuple([self._key(depth - 1, blob, callee) for callee in self._called(blob, index)])
        return hash((self._key(depth - 1, blob, index), callees))

    def _base(self, blob: int, index: int) -> Hashable:
        """An import's name, a function's shape, or what no other function has."""
        imports = self._imports[blob]
        if index < len(imports):
            return imports[index].module, imports[index].name
        return self._blobs[blob].functions[index - len(imports)].shape or (blob, index)

    def _called(self, blob: int, index: int) -> list[int]:
        first = len(self._imports[blob])
        if index < first:
            return []
        if (blob, index) not in self._calls:
            self._calls[blob, index] = self._blobs[blob].functions[index - first].calls
        return self._calls[blob, index]

    def _constants(self, blob: int, index: int, below: int | None) -> Hashable:
        function = self._blobs[blob].functions[index]
        return tuple(
            value if below is None or abs(value) < below else None
            for kind, value in zip(function.kinds, function.operands, strict=True)
            if kind in CONSTANTS
        )
