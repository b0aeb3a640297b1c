"""Which things stand for each other: one for one, or all of a class."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class OneToOne(Generic[T]):
    """Pairs in which each thing of the blob has one of the split, and that one no other."""

    def __init__(self) -> None:
        self.to_split: dict[T, T] = {}
        self.to_blob: dict[T, T] = {}

    def pair(self, blob: T, split: T) -> bool:
        """Pair two; whether neither is paired with another."""
        return self.to_split.setdefault(blob, split) == split and self.to_blob.setdefault(split, blob) == blob


class Alike:
    """Classes of functions, by their addresses, that behave alike if all their pairs do."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def join(self, one: int, other: int) -> bool:
        """Make one class of the classes of two functions; whether they were different ones."""
        one, other = self._top(one), self._top(other)
        if one == other:
            return False
        self._above[one] = other
        return True

    def _top(self, function: int) -> int:
        above = self._above
        while (next_ := above.get(function, function)) != function:
            above[function] = above.get(next_, next_)
            function = next_
        return function
