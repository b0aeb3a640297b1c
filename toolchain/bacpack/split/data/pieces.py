"""Which bytes of data programs have in common, piece by piece, and which pieces go together into data modules.

A *piece* is a run of bytes that some blobs have in common: each has all of it. Words in it that differ do so by a
*distance*, which many words share: an object lies elsewhere, a function has another place in the table. Words whose
distances are the same in every blob are one *class*, and each remainder says the distance of a class once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bacpack.split.abi.words import MOST_WORDS
from bacpack.split.data.copies import Run, Sources, Word
from bacpack.split.data.image import Image
from bacpack.split.model.costs import MAX_CODE_BYTES
from bacpack.split.model.grouping import group_by_users

#: A piece that is shorter is not worth naming its address.
LEAST_BYTES = 24
WORD_BYTES = 4
#: So many zeros are not worth storing.
_ZEROS = re.compile(rb"\0{64,}")
#: No word above this is taken for an address: chains keep their own marks in the bits above.
HIGHEST_ADDRESS = 1 << 27


@dataclass(slots=True)
class Piece:
    """Bytes that several blobs have."""

    content: bytes
    #: For each blob, the address there.
    addresses: dict[int, int]
    #: For each word that differs, by place in the piece: its distance from `content`, by blob.
    words: dict[int, dict[int, int]]

    @property
    def users(self) -> int:
        """The blobs that have it, as a set of bits."""
        return sum(1 << blob for blob in self.addresses)

    @property
    def distances(self) -> set[tuple[tuple[int, int], ...]]:
        """The different distances of its words."""
        return {tuple(sorted(distance.items())) for distance in self.words.values()}


@dataclass(slots=True)
class DataPlan:
    """A data module before it is written."""

    pieces: list[Piece]
    #: For each class, the distance by blob; a blob that is missing has no piece with such words.
    classes: list[dict[int, int]] = field(default_factory=list)
    #: For each piece the class of each word that differs, by place.
    words: list[dict[int, int]] = field(default_factory=list)

    def is_used_by(self, blob: int) -> bool:
        """Whether `blob` has any of the pieces."""
        return any(blob in piece.addresses for piece in self.pieces)

    def leave(self, blob: int) -> None:
        """Give `blob` none of the pieces."""
        for piece in self.pieces:
            piece.addresses.pop(blob, None)
        for class_ in self.classes:
            class_.pop(blob, None)

    def written(self, blob: int) -> Iterator[tuple[int, bytes]]:
        """Addresses and bytes that the module writes for `blob`."""
        for piece, words in zip(self.pieces, self.words, strict=True):
            if blob in piece.addresses:
                content = bytearray(piece.content)
                for at, class_ in words.items():
                    value = int.from_bytes(content[at : at + WORD_BYTES], "little")
                    moved = value + self.classes[class_].get(blob, 0) & 0xFFFF_FFFF
                    content[at : at + WORD_BYTES] = moved.to_bytes(WORD_BYTES, "little")
                yield piece.addresses[blob], bytes(content)

    def arguments(self, blob: int) -> list[int]:
        """What the remainder of `blob` passes: the address of each piece, then the distance of each class."""
        addresses = [piece.addresses.get(blob, 0) for piece in self.pieces]
        return addresses + [distances.get(blob, 0) for distances in self.classes]


def share_data(images: Sequence[Image | None]) -> list[DataPlan]:
    """Find what the data of blobs has in common; a blob without an image takes no part."""
    found = map(_above_zero, _pieces(images))
    pieces = [piece for piece in found if len(piece.addresses) > 1 and len(piece.content) >= LEAST_BYTES]
    groups = group_by_users((piece, len(piece.content)) for piece in pieces)
    return [_with_classes(part) for group in groups for part in _parts(group.items)]


def _above_zero(piece: Piece) -> Piece:
    """The piece without its first word where some blob has that at address zero, which stands for one that it lacks."""
    if 0 not in piece.addresses.values():
        return piece
    addresses = {blob: address + WORD_BYTES for blob, address in piece.addresses.items()}
    words = {at - WORD_BYTES: distances for at, distances in piece.words.items() if at >= WORD_BYTES}
    return Piece(piece.content[WORD_BYTES:], addresses, words)


def _parts(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Cut what is too much for one module: too large for one block, or with too many words to hand over."""
    part: list[Piece] = []
    size, distances = 0, set[tuple[tuple[int, int], ...]]()
    for piece in pieces:
        more = distances | piece.distances
        if part and (size + len(piece.content) > MAX_CODE_BYTES or len(part) + 1 + len(more) > MOST_WORDS):
            yield part
            part, size, more = [], 0, piece.distances
        part.append(piece)
        size, distances = size + len(piece.content), more
    if part:
        yield part


def _with_classes(pieces: list[Piece]) -> DataPlan:
    """Put the words of a module's pieces into classes: those with the same distance in every blob that has both."""
    counts: dict[tuple[tuple[int, int], ...], int] = defaultdict(int)
    for piece in pieces:
        for distance in piece.words.values():
            counts[tuple(sorted(distance.items()))] += 1
    classes: list[dict[int, int]] = []
    numbers: dict[tuple[tuple[int, int], ...], int] = {}
    for key in sorted(counts, key=lambda key: (-counts[key], key)):
        distances = dict(key)
        for number, class_ in enumerate(classes):
            if all(class_.get(blob, value) == value for blob, value in key) and not class_.keys().isdisjoint(distances):
                class_.update(distances)
                numbers[key] = number
                break
        else:
            numbers[key] = len(classes)
            classes.append(distances)
    words = [
        {at: numbers[tuple(sorted(distance.items()))] for at, distance in sorted(piece.words.items())}
        for piece in pieces
    ]
    return DataPlan(pieces, classes, words)


@dataclass(slots=True)
class _Part:
    """A part of one image that is found nowhere before, and where others have it too."""

    start: int
    end: int
    #: For each blob that has it: how far its copy lies from here, and the words in which that differs, in order.
    copies: dict[int, tuple[int, list[Word]]]

    @property
    def is_short(self) -> bool:
        """Whether it is too short for a piece."""
        return self.end - self.start < LEAST_BYTES

    def is_continued_by(self, other: _Part, users: Iterable[int]) -> bool:
        """Whether the copies of `users` go on in another part."""
        return other.start == self.end and all(
            blob in self.copies and blob in other.copies and self.copies[blob][0] == other.copies[blob][0]
            for blob in users
        )


def _pieces(images: Sequence[Image | None]) -> Iterator[Piece]:
    """The pieces of all images, each in the first blob that has it."""
    copies = _copies(images)
    for blob, image in enumerate(images):
        if image is None:
            continue
        for part in _without_zeros(image.content, _joined(_cut(copies[blob]))):
            piece = Piece(image.content[part.start : part.end], {blob: image.start + part.start}, {})
            for user, (displacement, words) in part.copies.items():
                other = images[user]
                assert other is not None
                piece.addresses[user] = other.start + part.start + displacement
                for at, delta in _within(words, part.start, part.end):
                    piece.words.setdefault(at - part.start, {})[user] = delta
            for distance in piece.words.values():
                for user in piece.addresses:
                    distance.setdefault(user, 0)
            yield piece


@dataclass(slots=True)
class _Copy:
    """A copy of bytes of an image in that of another blob."""

    start: int
    end: int
    blob: int
    displacement: int
    words: list[Word]


def _copies(images: Sequence[Image | None]) -> list[list[_Copy]]:
    """For each image, who has copies of which bytes that no earlier image has."""
    sources = Sources()
    numbers: list[int] = []  # which image a source is
    origins: list[list[_Origin]] = [[] for _ in images]
    copies: list[list[_Copy]] = [[] for _ in images]
    for blob, image in enumerate(images):
        if image is None:
            continue
        runs = sources.find(image.content, min(image.size, HIGHEST_ADDRESS))
        end = 0
        own: list[tuple[int, int]] = []
        for run in [*runs, Run(len(image.content), 0, 0, 0, [])]:
            if run.at > end:
                own.append((end, run.at))
                origins[blob].append(_Origin(end, run.at, blob, 0, []))
            if run.size:
                origins[blob] += _resolve(run, origins[numbers[run.source]])
            end = run.at + run.size
        for origin in origins[blob]:
            if origin.blob != blob:
                start, displacement = origin.start - origin.displacement, origin.displacement
                words = [Word(at - displacement, delta) for at, delta in origin.words]
                copies[origin.blob].append(_Copy(start, origin.end - displacement, blob, displacement, words))
        sources.add(image.content, min(image.size, HIGHEST_ADDRESS), own)
        numbers.append(blob)
    return copies


@dataclass(slots=True)
class _Origin:
    """Where the bytes of an image from `start` to `end` come from: those of `blob`, less a displacement."""

    start: int
    end: int
    blob: int
    displacement: int
    #: Those that differ, by place in this image, in order.
    words: list[Word]


def _resolve(run: Run, origins: Sequence[_Origin]) -> Iterator[_Origin]:
    """A run by where its bytes come from first, which its source may have from others itself."""
    shift = run.at - run.origin
    for origin in origins[bisect_right(origins, run.origin, key=lambda origin: origin.end) :]:
        start, end = max(origin.start, run.origin), min(origin.end, run.origin + run.size)
        if start >= end:
            break
        words = {at + shift: delta for at, delta in _within(origin.words, start, end)}
        for at, delta in _within(run.words, start - run.origin, end - run.origin):
            words[run.at + at] = words.get(run.at + at, 0) + delta
        moved = [Word(at, delta) for at, delta in sorted(words.items()) if delta]
        yield _Origin(start + shift, end + shift, origin.blob, origin.displacement + shift, moved)


def _within(words: list[Word], start: int, end: int) -> list[Word]:
    """The words that lie from `start` to `end`, whole."""
    return words[bisect_left(words, (start,)) : bisect_left(words, (end - WORD_BYTES + 1,))]


def _cut(copies: Sequence[_Copy]) -> list[_Part]:
    """Cut at every end of a copy, so that each part has the same users all along."""
    starts: dict[int, list[_Copy]] = defaultdict(list)
    ends: dict[int, list[_Copy]] = defaultdict(list)
    for copy in copies:
        starts[copy.start].append(copy)
        ends[copy.end].append(copy)
    parts: list[_Part] = []
    open_: dict[int, list[_Copy]] = defaultdict(list)
    last = 0
    for at in sorted(starts.keys() | ends.keys()):
        users = {blob: (found[0].displacement, found[0].words) for blob, found in sorted(open_.items()) if found}
        if users and at > last:
            parts.append(_Part(last, at, users))
        for copy in ends[at]:
            open_[copy.blob].remove(copy)
        for copy in starts[at]:
            open_[copy.blob].append(copy)
        last = at
    return parts


def _joined(parts: Sequence[_Part]) -> list[_Part]:
    """Give what is too short to a neighbour whose users all have it, and join neighbours of the same users."""
    out: list[_Part] = []
    for part in parts:
        if not out:
            out.append(part)
            continue
        before = out[-1]
        if (len(part.copies) == len(before.copies) or part.is_short) and before.is_continued_by(part, before.copies):
            _extend(before, part)
        elif before.is_short and before.is_continued_by(part, part.copies):
            before.copies = {blob: before.copies[blob] for blob in part.copies}
            _extend(before, part)
        else:
            out.append(part)
    return [part for part in out if not part.is_short]


def _without_zeros(content: bytes, parts: Sequence[_Part]) -> Iterator[_Part]:
    """Leave out what is zero for long: memory is so already."""
    for part in parts:
        start = part.start
        for zeros in _ZEROS.finditer(content, part.start, part.end):
            yield _Part(start, zeros.start() + WORD_BYTES - 1, part.copies)  # they may begin within a word
            start = zeros.end()
        yield _Part(start, part.end, part.copies)


def _extend(part: _Part, by: _Part) -> None:
    part.end = by.end
    for blob, (displacement, words) in part.copies.items():
        part.copies[blob] = displacement, sorted({*words, *by.copies[blob][1]})
