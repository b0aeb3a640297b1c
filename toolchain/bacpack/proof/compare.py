"""Comparing the code of a blob's function with that of the function that is to replace it, instruction by instruction.

This also finds equal what only writes a number in another way, or the address of a global variable in another place,
and it can say what differs.
"""

from __future__ import annotations

from typing import NamedTuple

from bacpack.proof.bases import accesses
from bacpack.proof.code import Code
from bacpack.proof.form import Number, SlotValue
from bacpack.proof.unit import Unit, decoded
from bacpack.wasm.reader import Reader


class Difference(NamedTuple):
    """What differs, and where in the blob's function, in bytes from its first instruction."""

    what: str
    position: int


class Side(NamedTuple):
    """A function that is compared."""

    unit: Unit
    function: int
    code: Code

    def instruction(self, position: int) -> str:
        """The name of the instruction at a position."""
        _, start, end = self.unit.span(self.function)
        return Reader(self.unit.module.data, start + position, end).instruction()[0].name


def numbers_of(code: Code, value: SlotValue) -> list[int]:
    """The numbers of some code in one program."""
    if not code.slots:
        return code.numbers
    numbers = code.numbers.copy()
    for slot in code.slots:
        numbers[slot.position] = (numbers[slot.position] + value(slot.index) & slot.mask) + slot.more
    return numbers


def find_difference(blob: Side, split: Side, value: SlotValue) -> Difference | None:
    """The first difference between two functions, but for their operands."""
    if blob.code.locals != split.code.locals:
        return Difference("their locals differ", 0)
    return _instructions(blob, split) or _numbers(blob, numbers_of(split.code, value))


def _instructions(blob: Side, split: Side) -> Difference | None:
    # A run starts where the token before it ends.
    starts = [[0, *(end for _, end in side.code.spans)] for side in (blob, split)]
    columns = zip(*starts, blob.code.runs, split.code.runs, strict=False)
    for number, (at, at_split, run, run_split) in enumerate(columns):
        if run != run_split:
            same = _common(run, run_split)
            return _replaced(blob, at + same, split, at_split + same)
        shape, shape_split = blob.code.shapes[number : number + 1], split.code.shapes[number : number + 1]
        if shape != shape_split and shape and shape_split:
            return _replaced(blob, blob.code.spans[number][0], split, split.code.spans[number][0])
    if len(blob.code.runs) != len(split.code.runs):
        return Difference("one of them is longer", min(starts[0][-1], starts[1][-1]))
    return None


def _common(run: bytes, other: bytes) -> int:
    """How many bytes the instructions take with which both begin."""
    same = 0
    for (_, _, content), (_, _, content_other) in zip(decoded(run), decoded(other), strict=False):
        if content != content_other:
            break
        same += len(content)
    return same


def _replaced(blob: Side, position: int, split: Side, position_split: int) -> Difference:
    before, after = blob.instruction(position), split.instruction(position_split)
    if before == after:
        return Difference(f"`{before}` has other operands", position)
    return Difference(f"`{before}` became `{after}`", position)


def _numbers(blob: Side, numbers: list[int]) -> Difference | None:
    """The first constant or offset that differs, unless a constant and the offset of the one access to it sum up."""
    numbered = [number for number, form in enumerate(blob.code.forms) if form.holds]
    pairs = dict(zip(numbered, zip(blob.code.numbers, numbers, strict=True), strict=True))
    by_start = {blob.code.spans[number][0]: number for number in numbered}
    explained: set[int] = set()
    taken: dict[int, int] | None = None
    for number, (before, after) in pairs.items():
        if before == after or blob.code.forms[number].holds != Number.CONSTANT:
            continue
        if taken is None:
            taken = accesses(blob.unit, blob.function)
        start, end = blob.code.spans[number]
        access = by_start[taken[end]] if end in taken else None
        if access is None:
            return Difference(f"the constant {before} became {after}", start)
        offset, offset_after = pairs[access]
        if before + offset != after + offset_after:
            return Difference(f"the address {before + offset} became {after + offset_after}", start)
        explained.add(access)
    for number, (before, after) in pairs.items():
        if before != after and blob.code.forms[number].holds == Number.OFFSET and number not in explained:
            return Difference(f"the offset {before} became {after}", blob.code.spans[number][0])
    return None
