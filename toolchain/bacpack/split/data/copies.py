"""Which bytes of a memory are found in another: runs that are equal but for words that moved.

A linker lays the same objects out in another order in each program, so the words that point to them differ by the
distance they moved, and many by the same: a run goes on over a word that differs by a distance seen before. Runs start
at *anchors*, places that the content alone decides, and are extended to both sides as long as that pays (X-drop, as in
BLAST: https://doi.org/10.1093/nar/25.17.3389). What a run is wrong about costs bytes, never correctness: a remainder
writes over whatever differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

#: Size of the windows in which runs are looked for.
_WINDOW = 12
#: A window starts after a byte that often ends something: zero, space, or one of a few others.
_ANCHOR = re.compile(rb"(?<=[\x00\x01\x02\x04\x20\x3f\x80\xff])(?=([^\x00][\s\S]{11}))")
#: Windows with more zeros than this are found everywhere.
_MOST_ZEROS = 7
#: So many places of a window are tried.
_MOST_PLACES = 4
#: A run that saves less is none: naming it takes about as much. Zeros save nothing: memory is full of them.
_LEAST_SCORE = 24
#: What a distance that was not seen before costs, and how far the score may fall before a run ends.
_NEW_DISTANCE, _DROP = 8, 64
_BLOCK = 64


class Word(NamedTuple):
    """A word in a run that differs: its place, counted in bytes from the run's start, and by how much."""

    at: int
    delta: int


class Run(NamedTuple):
    """Bytes of a memory that are those of a source, but for some words."""

    at: int
    source: int
    origin: int
    size: int
    words: list[Word]


class Sources:
    """Contents in which runs are looked for. All places are counted from the start of a content."""

    def __init__(self) -> None:
        self._contents: list[tuple[bytes, int]] = []
        self._windows: dict[bytes, list[tuple[int, int]]] = {}

    def add(self, content: bytes, limit: int, parts: list[tuple[int, int]]) -> None:
        """Add a content; runs start in the `parts` of it from, to; a word from `limit` on is no address."""
        number = len(self._contents)
        self._contents.append((content, limit))
        for start, end in parts:
            for at, window in windows(content, start, end):
                places = self._windows.setdefault(window, [])
                if len(places) < _MOST_PLACES:
                    places.append((number, at))

    def find(self, content: bytes, limit: int) -> list[Run]:
        """Runs of `content` that are found in the sources: in order, none over another."""
        runs: list[Run] = []
        seen: dict[int, set[int]] = {}
        end = 0
        for found in _ANCHOR.finditer(content):
            if found.start() < end or (places := self._windows.get(found[1])) is None:
                continue
            at = found.start()
            best, score = None, _LEAST_SCORE - 1
            for source, origin in places:
                pair = _Pair(content, limit, *self._contents[source], seen.setdefault(source, set()))
                candidate, worth = pair.extend(at, origin, end, source)
                if worth > score:
                    best, score = candidate, worth
            if best is not None:
                runs.append(best)
                seen[best.source].update(word.delta for word in best.words)
                end = best.at + best.size
        return runs


def windows(content: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The places from which runs are looked for, with the bytes there: the same for equal contents."""
    for found in _ANCHOR.finditer(content, start, len(content) if end is None else end):
        if found[1].count(0) <= _MOST_ZEROS:
            yield found.start(), found[1]


class _Pair(NamedTuple):
    """A memory and a source that are compared."""

    content: bytes
    limit: int
    other: bytes
    other_limit: int
    seen: set[int]

    def extend(self, at: int, origin: int, first: int, source: int) -> tuple[Run, int]:
        """The best run around two equal places, not before `first`, and its score."""
        new: set[int] = set()
        after, score_after, words_after = self._forward(at, origin, new)
        before, score_before, words_before = self._backward(at, origin, first, new)
        start = at - before
        words = [Word(place - start, delta) for place, delta in chain_reversed(words_before, words_after)]
        return Run(start, source, origin - before, before + after, words), score_before + score_after

    def _forward(self, at: int, origin: int, new: set[int]) -> tuple[int, int, list[Word]]:
        size = min(len(self.content) - at, len(self.other) - origin)
        score = best = reached = done = kept = 0
        words: list[Word] = []
        while done < size:
            equal = _equal_after(self.content, at + done, self.other, origin + done, size - done)
            score += equal - self.content.count(0, at + done, at + done + equal)
            done += equal
            if score > best:
                best, reached, kept = score, done, len(words)
            place = (at + done) & ~3
            if done >= size or (at - origin) & 3 or place < at or place + 4 - at > size:
                break
            delta = self._delta(place, place - at + origin)
            if delta is None:
                break
            score += self._worth(delta, new) - (at + done - place)
            words.append(Word(place, delta))
            done = place + 4 - at
            if score > best:
                best, reached, kept = score, done, len(words)
            if score < best - _DROP:
                break
        return reached, best, words[:kept]

    def _backward(self, at: int, origin: int, first: int, new: set[int]) -> tuple[int, int, list[Word]]:
        size = min(at - first, origin)
        score = best = reached = done = kept = 0
        words: list[Word] = []
        while done < size:
            equal = _equal_before(self.content, at - done, self.other, origin - done, size - done)
            score += equal - self.content.count(0, at - done - equal, at - done)
            done += equal
            if score > best:
                best, reached, kept = score, done, len(words)
            place = (at - done - 1) & ~3
            if done >= size or (at - origin) & 3 or at - place > size or place + 4 > at:
                break
            delta = self._delta(place, place - at + origin)
            if delta is None:
                break
            score += self._worth(delta, new) - (place + 4 - (at - done))
            words.append(Word(place, delta))
            done = at - place
            if score > best:
                best, reached, kept = score, done, len(words)
            if score < best - _DROP:
                break
        return reached, best, words[:kept]

    def _delta(self, place: int, origin: int) -> int | None:
        """By how much a word differs, when both could be addresses."""
        word = int.from_bytes(self.content[place : place + 4], "little")
        other = int.from_bytes(self.other[origin : origin + 4], "little")
        return word - other if 0 < word < self.limit and 0 < other < self.other_limit else None

    def _worth(self, delta: int, new: set[int]) -> int:
        if delta in self.seen or delta in new:
            return 4
        new.add(delta)
        return -_NEW_DISTANCE


def chain_reversed(before: list[Word], after: list[Word]) -> Iterator[Word]:
    """Words found going back from a place, then those after it: all in order."""
    yield from reversed(before)
    yield from after


def _equal_after(content: bytes, at: int, other: bytes, origin: int, most: int) -> int:
    """How many bytes are equal from two places on."""
    done, block = 0, _BLOCK
    while done < most:
        block = min(block, most - done)
        mine, theirs = content[at + done : at + done + block], other[origin + done : origin + done + block]
        if mine != theirs:
            difference = int.from_bytes(mine, "little") ^ int.from_bytes(theirs, "little")
            return done + ((difference & -difference).bit_length() - 1 >> 3)
        done += block
        block *= 2
    return most


def _equal_before(content: bytes, at: int, other: bytes, origin: int, most: int) -> int:
    """How many bytes are equal before two places."""
    done = 0
    while done < most:
        block = min(_BLOCK, most - done)
        mine, theirs = content[at - done - block : at - done], other[origin - done - block : origin - done]
        if mine != theirs:
            difference = int.from_bytes(mine, "big") ^ int.from_bytes(theirs, "big")
            return done + ((difference & -difference).bit_length() - 1 >> 3)
        done += block
    return most
