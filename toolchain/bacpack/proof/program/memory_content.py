"""The content of a memory or a table, kept in small parts: it may be large, and hold little, anywhere."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

_PART = 512
_ZEROS = bytes(_PART)
#: Entries of a table, of which each takes as many bytes as a number of an array.
_PART_ENTRIES = _PART // array("I").itemsize


@dataclass
class Content:
    """Bytes by address; those that nobody wrote are zero."""

    parts: dict[int, bytearray] = field(default_factory=dict)

    def write(self, to: int, content: bytes) -> None:
        """Copy `content` to an address."""
        done = 0
        while done < len(content):
            number, offset = divmod(to + done, _PART)
            piece = content[done : done + _PART - offset]
            if number not in self.parts:
                self.parts[number] = bytearray(_PART)
            self.parts[number][offset : offset + len(piece)] = piece
            done += len(piece)

    def first_difference(self, other: Content) -> int | None:
        """The lowest address at which two contents differ."""
        for number in sorted(self.parts.keys() | other.parts.keys()):
            ours, theirs = self.parts.get(number, _ZEROS), other.parts.get(number, _ZEROS)
            if ours != theirs:
                return number * _PART + next(at for at in range(_PART) if ours[at] != theirs[at])
        return None

    def read(self, address: int, size: int) -> bytes:
        """The bytes at an address."""
        number, offset = divmod(address, _PART)
        if number in self.parts and offset + size <= _PART:
            return bytes(self.parts[number][offset : offset + size])
        out = bytearray()
        while len(out) < size:
            number, offset = divmod(address + len(out), _PART)
            out += self.parts.get(number, _ZEROS)[offset : offset + size - len(out)]
        return bytes(out)

    def byte(self, address: int) -> int:
        """The byte at an address."""
        number, offset = divmod(address, _PART)
        return self.parts[number][offset] if number in self.parts else 0


@dataclass
class Entries:
    """The entries of a table, as numbers below 2**32 that say what each holds; zero where nobody wrote."""

    content: Content = field(default_factory=Content)

    def write(self, first: int, numbers: array[int]) -> None:
        """Copy some numbers to the entries from `first` on."""
        self.content.write(first * numbers.itemsize, numbers.tobytes())

    def read(self, first: int, count: int) -> array[int]:
        """So many entries from `first` on."""
        out = array("I")
        out.frombytes(self.content.read(first * out.itemsize, count * out.itemsize))
        return out

    def pairs(self, other: Entries) -> dict[tuple[int, int], int]:
        """What one entry holds here and there, if anybody wrote either: each such pair once, and its first entry."""
        first: dict[tuple[int, int], int] = {}
        for number, pairs in self._parts(other):
            if not first.keys() >= set(pairs):
                for entry, pair in enumerate(pairs, number * _PART_ENTRIES):
                    first.setdefault(pair, entry)
        first.pop((0, 0), None)
        return first

    def leaves_out(self, other: Entries, size: int) -> bool:
        """Whether there is an entry of tables of this `size` that nobody wrote, neither here nor there."""
        return sum(len(pairs) - pairs.count((0, 0)) for _, pairs in self._parts(other)) < size

    def _parts(self, other: Entries) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        parts, others = self.content.parts, other.content.parts
        for number in sorted(parts.keys() | others.keys()):
            ours, theirs = (memoryview(each.get(number, _ZEROS)).cast("I") for each in (parts, others))
            yield number, [*zip(ours, theirs, strict=True)]


@dataclass
class Later:
    """What is written to known places after something else was to a place that only the host knows."""

    content: Content = field(default_factory=Content)
    #: One for each byte that was written.
    written: Content = field(default_factory=Content)
    entries: Entries = field(default_factory=Entries)
