"""Room in memory for words: what a program hands over to data modules must lie where none of them writes."""

from __future__ import annotations

from collections.abc import Sequence

from bacpack.split.data.image import Image
from bacpack.split.data.pieces import DataPlan
from bacpack.split.emit.form import WORDS_BYTES


def free_room(blob: int, image: Image, plans: Sequence[DataPlan]) -> int | None:
    """The address of room in the memory of `blob`, which holds `image` at first; None if there is none."""
    pieces = [piece for plan in plans for piece in plan.pieces if blob in piece.addresses]
    if min([image.start, *(piece.addresses[blob] for piece in pieces)]) >= WORDS_BYTES:
        return 0
    ends = [piece.addresses[blob] + len(piece.content) for piece in pieces]
    end = max([image.start + len(image.content), *ends])
    room = end + -end % 16
    return room if room + WORDS_BYTES <= image.size else None


def leave_without_room(images: Sequence[Image | None], plans: Sequence[DataPlan]) -> None:
    """Take blobs without room out of `plans`: they keep their data."""
    for blob, image in enumerate(images):
        if image is not None and free_room(blob, image, plans) is None:
            for plan in plans:
                plan.leave(blob)
