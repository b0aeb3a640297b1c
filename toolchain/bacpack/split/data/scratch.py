"""Scratch memory for words: what a program hands over to data modules must lie where none of them writes."""

from __future__ import annotations

from collections.abc import Sequence

from bacpack.split.abi.words import WORDS_BYTES
from bacpack.split.data.image import Image
from bacpack.split.data.pieces import DataPlan


def find_scratch(images: Sequence[Image | None], plans: Sequence[DataPlan]) -> list[int]:
    """The address of scratch memory in each blob; those without any leave `plans`, and need none: zero."""
    scratch_places = []
    for blob, image in enumerate(images):
        scratch = 0 if image is None else _free_scratch(blob, image, plans)
        if scratch is None:
            for plan in plans:
                plan.leave(blob)
        scratch_places.append(scratch or 0)
    return scratch_places


def _free_scratch(blob: int, image: Image, plans: Sequence[DataPlan]) -> int | None:
    """The address of scratch memory in `blob`, which holds `image` at first; None if there is none."""
    pieces = [piece for plan in plans for piece in plan.pieces if blob in piece.addresses]
    if min([image.start, *(piece.addresses[blob] for piece in pieces)]) >= WORDS_BYTES:
        return 0
    ends = [piece.addresses[blob] + len(piece.content) for piece in pieces]
    end = max([image.start + len(image.content), *ends])
    scratch = end + -end % 16
    return scratch if scratch + WORDS_BYTES <= image.size else None
