"""Following a function of a split through the bytes of a blob's function: the quick way to find them equal.

A *track* is what the blob's bytes must be, step by step: a run of bytes that must be there as they are, then a constant
that must have a value, or an instruction that names something. Nearly all functions that are equal are so in this way.
Where a step fails, nothing is said yet: `compare` then looks at both functions instruction by instruction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from bacpack.proof.form import NONE, Form, Operand, Reading, SlotValue, mask
from bacpack.wasm.leb import decode_signed, encode_signed

#: How many numbers follow an opcode: of calls, globals, blocks of a function type, references.
_NUMBERS = {
    **dict.fromkeys((0x02, 0x03, 0x04, 0x10, 0x12, 0x23, 0x24, 0xD2), 1),
    **dict.fromkeys((0x11, 0x13), 2),
}
_CONSTANTS = (b"\x41", b"\x42")
_GLOBAL_GET = 0x23
_LAST_OF_NUMBER = 0x7F


#: A read of a slot: the shape of the constant that it stands for, the slot, what is added to its value.
SlotRead = tuple[bytes, int, int]


class Step(NamedTuple):
    """A run of bytes, and the token after it."""

    #: With the constant after it, if that is the same in every program.
    run: bytes
    size: int
    #: That constant, or the empty string.
    constant: bytes
    slot_read: SlotRead | None
    shape: bytes
    #: Whether one number follows the opcode, or two.
    has_two: bool


class Track(NamedTuple):
    """What a blob's function must be."""

    locals: bytes
    steps: list[Step]
    last: bytes
    #: The operands of all tokens.
    operands: list[Operand]


def lay(locals_: bytes, runs: list[bytes], forms: list[Form]) -> Track | None:
    """The track of a function that is cut coarsely, unless it has tokens that are rarely seen."""
    steps = []
    operands: list[Operand] = []
    before = b""
    for run, form in zip(runs, forms, strict=False):
        run, before = before + run, b""  # noqa: PLW2901
        shape = form.shape
        constant, slot_read = b"", None
        if form.holds and shape[0] == _GLOBAL_GET:
            # A global plus a constant: to the blob, the constant and the addition belong to what follows.
            shape, before = shape[:1], _constant(shape[1:2], form.number) + shape[2:]
        elif shape not in _CONSTANTS:
            if shape[0] not in _NUMBERS or form.holds:
                return None
        elif form.slot == NONE:
            constant = _constant(shape, form.number)
        else:
            slot_read = shape, form.slot, form.number
        steps.append(
            Step(run + constant, len(run) + len(constant), constant, slot_read, shape, _NUMBERS.get(shape[0]) == 2)
        )
        operands += form.operands
    return Track(locals_, steps, before + runs[-1], operands)


def follow(
    track: Track, data: bytes, span: tuple[int, int, int], slots: SlotConstants, reading: Reading
) -> list[Operand] | None:
    """The operands of the function in `data` that has this span, if it goes along the track; else None."""
    body, position, end = span
    if data[body:position] != track.locals:
        return None
    operands: list[Operand] = []
    for run, size, constant, slot_read, shape, has_two in track.steps:
        if data.startswith(run, position):
            position += size
            if constant:
                continue
        elif constant and data.startswith(run[: -len(constant)], position):
            position += size - len(constant)  # what follows may be the same constant, padded
        else:
            return None
        if slot_read:
            constant = slots[slot_read]  # noqa: PLW2901
            if data.startswith(constant, position):
                position += len(constant)
                continue
        if position >= end or data[position] != shape[0]:
            return None
        # A function ends with a byte that ends any number: so does the search for one.
        stop = position + 2
        while data[stop - 1] > _LAST_OF_NUMBER:
            stop += 1
        if has_two and stop < end:
            stop += 1
            while data[stop - 1] > _LAST_OF_NUMBER:
                stop += 1
        if stop >= end:
            return None
        token = data[position:stop]
        if constant:
            if decode_signed(token, 1)[0] != decode_signed(constant, 1)[0]:
                return None
        else:
            found = reading[token]
            if found.shape != shape:
                return None
            operands += found.operands
        position = stop
    return operands if data[position:end] == track.last else None


class SlotConstants(dict[SlotRead, bytes]):
    """The constants that stand for reads of slots in one program, as they are written when nothing pads them."""

    def __init__(self, slots: SlotValue) -> None:
        super().__init__()
        self._slots = slots

    def __missing__(self, read: SlotRead) -> bytes:
        shape, slot, number = read
        written = self[read] = _constant(shape, number + self._slots(slot) & mask(shape))
        return written


@lru_cache(maxsize=1 << 16)
def _constant(shape: bytes, number: int) -> bytes:
    sign = mask(shape) + 1 >> 1
    return shape + encode_signed(number - 2 * sign if number >= sign else number)
