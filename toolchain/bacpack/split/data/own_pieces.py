"""Pieces of data that one blob alone has, cut at its objects: for the next blob that has the same.

Only a blob with relocations says where its objects lie and which of its words are addresses. Objects that lie next to
each other move together unless the next program lacks one of them, so small ones are joined. Words that point into one
piece, and those that are the place of one function, are a class.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence

from bacpack.split.abi.words import MOST_WORDS
from bacpack.split.data.image import Image
from bacpack.split.data.pieces import HIGHEST_ADDRESS, LEAST_BYTES, WORD_BYTES, DataPlan, Piece
from bacpack.split.model.costs import MAX_CODE_BYTES
from bacpack.split.shapes.relocation_hints import PLACE, RelocationHints

#: Data of one blob alone is put into a module when there is so much of it.
_LEAST_OWN_BYTES = 2_048
#: A piece takes no further object once it has so many bytes.
_PIECE_BYTES = 512
#: Objects further apart than any alignment asks for are not joined.
_MOST_PADDING = 16
#: An object with so many zeros in a row stays with its blob: a remainder can leave them out.
_MOST_ZEROS = bytes(256)
#: An object may have more places of functions than a module takes words: the rest counts as bytes.
_MOST_CLASSES = MOST_WORDS // 2


def own_data(
    images: Sequence[Image | None], known: Sequence[RelocationHints | None], plans: Sequence[DataPlan]
) -> list[DataPlan]:
    """For each blob whose objects are known, the modules for what `plans` leave of its image, if that is much."""
    own: list[DataPlan] = []
    for blob, (image, facts) in enumerate(zip(images, known, strict=True)):
        if image is None or facts is None:
            continue
        covered = _covered(blob, plans)
        pieces = list(_pieces(blob, image, facts, covered))
        if sum(len(piece.content) for piece in pieces) >= _LEAST_OWN_BYTES:
            own += _plans(blob, pieces, facts, covered)
    return own


def _covered(blob: int, plans: Iterable[DataPlan]) -> list[tuple[int, int]]:
    """Where pieces of others lie in a blob, in order."""
    return sorted(
        (piece.addresses[blob], piece.addresses[blob] + len(piece.content))
        for plan in plans
        for piece in plan.pieces
        if blob in piece.addresses
    )


def _pieces(blob: int, image: Image, known: RelocationHints, covered: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    for start, end in _joined(image, _without(known.objects, covered)):
        content = image.content[start - image.start : end - image.start]
        # Zero stands for a piece that is not there.
        if start and len(content) - content.count(0) >= LEAST_BYTES:
            yield Piece(content, {blob: start}, {})


def _joined(image: Image, objects: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Objects, small neighbours joined; without those that hold little."""
    first = last = 0
    for start, end in objects:
        content = image.content[start - image.start : end - image.start]
        if _MOST_ZEROS in content or content.count(0) == len(content):
            continue
        if start - last > _MOST_PADDING or last - first >= _PIECE_BYTES:
            if last > first:
                yield first, last
            first = start
        last = end
    if last > first:
        yield first, last


def _without(objects: Iterable[tuple[int, int]], covered: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The objects of which nothing is covered."""
    number = 0
    for start, end in objects:
        while number < len(covered) and covered[number][1] <= start:
            number += 1
        if number == len(covered) or covered[number][0] >= end:
            yield start, end


def _plans(
    blob: int, pieces: Sequence[Piece], known: RelocationHints, covered: Sequence[tuple[int, int]]
) -> Iterator[DataPlan]:
    """Modules with `pieces`: each as many as go into one."""
    spans = [(piece.addresses[blob], piece.addresses[blob] + len(piece.content)) for piece in pieces]
    spans = sorted([*spans, *covered])
    classes: dict[Hashable, int] = {}
    plan = DataPlan([])
    size = 0
    for piece in pieces:
        words = dict(_words(piece, piece.addresses[blob], known, spans))
        new = {key for key in words.values() if key not in classes}
        if plan.pieces and (
            size + len(piece.content) > MAX_CODE_BYTES or len(plan.pieces) + len(classes) + len(new) >= MOST_WORDS
        ):
            yield plan
            plan, classes, size = DataPlan([]), {}, 0
        for key in words.values():
            if key not in classes:
                classes[key] = len(classes)
                plan.classes.append({blob: 0})
        for at in words:
            piece.words[at] = {blob: 0}
        plan.pieces.append(piece)
        plan.words.append({at: classes[key] for at, key in words.items()})
        size += len(piece.content)
    yield plan


def _words(
    piece: Piece, address: int, known: RelocationHints, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, Hashable]]:
    """The words of a piece that are addresses or places, and what decides by how much each moves."""
    keys: set[Hashable] = set()
    for at in range(-address % WORD_BYTES, len(piece.content) - WORD_BYTES + 1, WORD_BYTES):
        target = known.words.get(address + at)
        value = int.from_bytes(piece.content[at : at + WORD_BYTES], "little")
        if target is None or value >= HIGHEST_ADDRESS:
            continue
        key = ("place", value) if target == PLACE else ("address", _start(spans, target))
        if key in keys or len(keys) < _MOST_CLASSES:
            keys.add(key)
            yield at, key


def _start(spans: Sequence[tuple[int, int]], target: int) -> int:
    """Where the piece begins that an address is in, or the address itself."""
    start, end = spans[bisect_right(spans, (target, 1 << 32)) - 1]
    return start if start <= target < end else target
