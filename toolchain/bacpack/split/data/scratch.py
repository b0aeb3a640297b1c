"""Room in memory for words: what a program hands over to data modules must lie where none of them writes."""

from __future__ import annotations

from collections.abc import Sequence

from bacpack.split.abi.words import WORDS_BYTES
from bacpack.split.data.image import Image
from bacpack.split.data.pieces import DataPlan


def find_rooms(images: Sequence[Image | None], plans: Sequence[DataPlan]) -> list[int]:
    """The address of room in the memory of each blob; those without any leave `plans`, and need none: zero."""
    rooms = []
    for blob, image in enumerate(images):
        room = 0 if image is None else _free_room(blob, image, plans)
        if room is None:
            for plan in plans:
                plan.leave(blob)
        rooms.append(room or 0)
    return rooms


def _free_room(blob: int, image: Image, plans: Sequence[DataPlan]) -> int | None:
    """The address of room in the memory of `blob`, which holds `image` at first; None if there is none."""
    pieces = [piece for plan in plans for piece in plan.pieces if blob in piece.addresses]
    if min([image.start, *(piece.addresses[blob] for piece in pieces)]) >= WORDS_BYTES:
        return 0
    ends = [piece.addresses[blob] + len(piece.content) for piece in pieces]
    end = max([image.start + len(image.content), *ends])
    room = end + -end % 16
    return room if room + WORDS_BYTES <= image.size else None
