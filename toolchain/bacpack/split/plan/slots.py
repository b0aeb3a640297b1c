"""Which constants of a shared module become slots, and which of them share one.

A constant equal in all members stays as it is. One that differs is an address or a place in the table, and moves with
others: places whose values lie equally far apart in every blob share a slot and add the difference. Of a function that
only one blob has, nothing is known to differ yet; there, what can be an address is taken for one, and addresses that
lie near each other share a slot, for the next blob to set.

Of a blob with relocations it is known which constants are addresses, and of what: there, each object and each place in
the table has a slot of its own, however many blobs have it and however few differ in it, and nothing else has any.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bacpack.split.abi.operands import SlotRead
from bacpack.split.data.image import address_range
from bacpack.split.shapes.fingerprint import Blob
from bacpack.split.shapes.relocation_hints import NUMBER, PLACE
from bacpack.wasm.types import I32, I64

#: Addresses of one blob that lie within so many bytes of each other, counted from zero, are taken to move together.
_REGION_BYTES = 1024
#: Where addresses of one class are further apart, another slot begins.
_GAP_BYTES = 32
#: Tells places in the table from addresses, and both from `NUMBER` and the like.
_PLACES = -16
_LARGEST = {I32: 0xFFFF_FFFF, I64: 0xFFFF_FFFF_FFFF_FFFF}

#: What distinguishes a class: the type, the blobs that have it, the values relative to the first, or the region, and
#: what the values are in each blob, where that is known.
_Class = tuple[bytes, tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Slot:
    """A global of a shared module that each remainder sets."""

    type: bytes
    #: Its value by blob, without sign; a blob that is missing never reads it.
    values: dict[int, int]


@dataclass(slots=True)
class _Merged:
    """Classes that one slot serves: by blob, its value relative to any other blob's."""

    type: bytes
    relative: dict[int, int]
    #: How often which value is read in the blob where `relative` is zero.
    reads: Counter[int]
    #: What its values are, by blob; empty where that is not known.
    meanings: dict[int, int]
    #: Those of its values that have a slot of their own.
    apart: set[int]
    #: Where each of its slots begins to serve, and the number of the first.
    starts: list[int] = field(default_factory=list)
    slot: int = 0


class Slots:
    """Gathers the columns of values that differ, finds which move together, and gives each such class a slot."""

    def __init__(self, blobs: Sequence[Blob]) -> None:
        self._addresses = [address_range(blob.module) for blob in blobs]
        self._classes: dict[_Class, Counter[int]] = {}
        self._apart: dict[_Class, set[int]] = defaultdict(set)
        self._merged: dict[_Class, _Merged] = {}
        #: The slots chosen.
        self.chosen: list[Slot] = []

    def _key(
        self, type_: bytes, users: tuple[int, ...], column: tuple[int, ...], bases: tuple[int, ...], *, apart: bool
    ) -> _Class | None:
        """The class of a column of values, or None when it stays as it is."""
        first, largest = column[0], _LARGEST[type_]
        if max(bases) >= 0 or PLACE in bases:
            # Places are told apart by their values, addresses by their objects.
            meanings = tuple(
                [_PLACES - value if base == PLACE else base for value, base in zip(column, bases, strict=True)]
            )
            return type_, users, tuple([value - first & largest for value in column]), meanings
        if bases == (NUMBER,):
            return None
        if len(column) == 1:
            return (type_, users, (first // _REGION_BYTES,), ()) if self._may_be_address(type_, users, first) else None
        if column.count(first) == len(column) and not (apart and self._may_be_address(type_, users, first)):
            return None
        return type_, users, tuple([value - first & largest for value in column]), ()

    def _may_be_address(self, type_: bytes, users: tuple[int, ...], value: int) -> bool:
        """Whether a constant that is the same in all its blobs looks like one that is not in the next."""
        is_round = not (value & (value - 1) and value & (value + 1))
        return type_ == I32 and not is_round and all(value in self._addresses[blob] for blob in users)

    def note(
        self,
        type_: bytes,
        users: tuple[int, ...],
        column: tuple[int, ...],
        bases: tuple[int, ...],
        count: int,
        *,
        apart: bool,
    ) -> None:
        """Take a column of values that is read `count` times into account; `bases` are what they are.

        Those that are read `apart` from others have a slot of their own.
        """
        if key := self._key(type_, users, column, bases, apart=apart):
            self._classes.setdefault(key, Counter())[column[0]] += count
            if apart:
                self._apart[key].add(column[0])

    def choose(self) -> None:
        """Give classes slots: each holds the value read most often, and reading that one adds nothing."""
        order = sorted(self._classes, key=lambda key: (-len(key[1]), -self._classes[key].total(), key))
        # Two classes can share a slot when their values move alike in every blob that has both. That is looked up by
        # two neighbouring blobs and how far apart the values are there.
        steps: dict[tuple[bytes, int, int, int], list[_Merged]] = defaultdict(list)
        merged: list[_Merged] = []
        for key in order:
            type_, users, values, meanings = key
            largest = _LARGEST[type_]
            relative = dict(zip(users, values, strict=True)) if len(users) > 1 else {users[0]: 0}
            pairs = [(type_, one, other, relative[other] - relative[one] & largest) for one, other in pairwise(users)]
            meaning = dict(zip(users, meanings, strict=False))
            into = next(
                (found for pair in pairs for found in steps[pair] if _is_alike(found, relative, meaning, users)), None
            )
            if into is None:
                into = _Merged(type_, {}, Counter(), {}, set())
                merged.append(into)
            into.meanings |= meaning
            common = next((blob for blob in users if blob in into.relative), users[0])
            shift = into.relative.get(common, 0) - relative[common]
            for blob, value in relative.items():
                into.relative[blob] = value + shift & largest
            for first, count in self._classes[key].items():
                into.reads[first - into.relative[users[0]] & largest] += count
            into.apart.update(first - into.relative[users[0]] & largest for first in self._apart[key])
            for pair in pairs:
                if into not in steps[pair]:
                    steps[pair].append(into)
            self._merged[key] = into
        for entry in merged:
            entry.slot = len(self.chosen)
            for near in [[*entry.reads]] if entry.meanings else _clusters(entry.reads, entry.apart):
                entry.starts.append(min(near))
                base = max(near, key=lambda value: (entry.reads[value], -value))
                values_ = {blob: base + value & _LARGEST[entry.type] for blob, value in sorted(entry.relative.items())}
                self.chosen.append(Slot(entry.type, values_))

    def read(
        self, type_: bytes, users: tuple[int, ...], column: tuple[int, ...], bases: tuple[int, ...], *, apart: bool
    ) -> SlotRead | None:
        """What stands for a column of values that was noted; None for a constant that stays."""
        key = self._key(type_, users, column, bases, apart=apart)
        if key is None:
            return None
        entry = self._merged[key]
        value = column[0] - entry.relative[users[0]] & _LARGEST[type_]
        slot = entry.slot + bisect_right(entry.starts, value) - 1
        return SlotRead(slot, column[0] - self.chosen[slot].values[users[0]] & _LARGEST[type_])


def _clusters(values: Iterable[int], apart: Container[int]) -> Iterator[list[int]]:
    """Values that lie near each other: what lies between may be of another size in the next program.

    What is to be `apart` is alone.
    """
    near: list[int] = []
    for value in sorted(values):
        if near and (value - near[-1] > _GAP_BYTES or value in apart or near[-1] in apart):
            yield near
            near = []
        near.append(value)
    yield near


def _is_alike(merged: _Merged, relative: dict[int, int], meanings: Mapping[int, int], users: Sequence[int]) -> bool:
    """Whether values move alike in the blobs that both have, and are the same there."""
    common = [blob for blob in users if blob in merged.relative]
    if any(merged.meanings.get(blob) != meanings.get(blob) for blob in common):
        return False
    shift = merged.relative[common[0]] - relative[common[0]]
    return all(merged.relative[blob] - relative[blob] - shift & _LARGEST[merged.type] == 0 for blob in common)
