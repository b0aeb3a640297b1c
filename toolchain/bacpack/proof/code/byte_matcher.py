"""Following a function of a split through the bytes of a blob's function: the quick way to find them equal.

A *byte pattern* is what the blob's bytes must be, step by step: a run of bytes that must be there as they are, then a
constant that must have a value, or an instruction that names something. Nearly all functions that are equal match it.
An address that a split reads from a slot may be the offset of a load in the blob, in the two ways that `Load` says.
Where a step fails, nothing is said yet: `compare` then looks at both functions instruction by instruction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from bacpack.proof.code.checked_loads import LOADS, MOST_PLAIN, Scratch
from bacpack.proof.code.instruction_forms import (
    MOST_FORMS,
    NONE,
    InstructionForm,
    Number,
    Operand,
    SlotValue,
    TokenReader,
    mask,
)
from bacpack.proof.code.tokenizer import locals_named
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_signed

#: How many numbers follow an opcode: of calls, globals, blocks of a function type, references.
_NUMBERS = {
    **dict.fromkeys((0x02, 0x03, 0x04, 0x10, 0x12, 0x23, 0x24, 0xD2), 1),
    **dict.fromkeys((0x11, 0x13), 2),
}
_BLOCKS = (0x02, 0x03, 0x04)
#: What the type of a reference begins with, when it says more than one byte can.
_REFERENCES = (0x63, 0x64)
_CONSTANTS = (b"\x41", b"\x42")
_GLOBAL_GET = 0x23
_I32_CONST = b"\x41"
#: `i32.const 0`.
_ZERO = b"\x41\x00"
_LAST_OF_NUMBER = 0x7F


#: A read of a slot: the shape of the constant that it stands for, the slot, what is added to its value.
SlotRead = tuple[bytes, int, int]


class PatternStep(NamedTuple):
    """What a token of a split's function asks of the blob's function at that place."""

    #: What must be there, if that is the same in every program.
    constant: bytes
    slot_read: SlotRead | None
    shape: bytes
    #: Whether one number follows the opcode, or two.
    has_two: bool
    #: What must be there after it: to the blob, this is part of what follows.
    after: bytes
    operands: tuple[Operand, ...]


class Load(NamedTuple):
    """A load right after the slot that it takes its address from: the blob may have the address as its offset."""

    #: What is there in the blob before that offset.
    before_offset: bytes
    #: How much more than the slot that offset is.
    more: int
    #: What follows the constant where the blob has one, too; empty if it must not.
    after_constant: bytes


#: A run of bytes with the constant after it, if that is always the same; its size; the token after the run.
Step = tuple[bytes, int, PatternStep, Load | None]


class BytePattern(NamedTuple):
    """What a blob's function must be."""

    locals: bytes
    steps: list[Step]
    last: bytes
    #: The operands of all tokens.
    operands: list[Operand]


class PatternSteps(dict[bytes, PatternStep | None]):
    """The steps that the tokens of one module make, each worked out once; None for a token that is rarely seen."""

    def __init__(self, token_reader: TokenReader) -> None:
        super().__init__()
        self._token_reader = token_reader

    def __missing__(self, token: bytes) -> PatternStep | None:
        step = _step(self._token_reader[token])
        if len(self) >= MOST_FORMS:
            self.clear()
        self[token] = step
        return step


def _step(form: InstructionForm) -> PatternStep | None:
    shape = form.shape
    if shape in _CONSTANTS:
        if form.slot == NONE:
            return PatternStep(_constant(shape, form.number), None, shape, False, b"", ())
        return PatternStep(b"", (shape, form.slot, form.number), shape, False, b"", ())
    if form.holds and shape[0] == _GLOBAL_GET:  # a global plus a constant
        return PatternStep(b"", None, shape[:1], False, _constant(shape[1:2], form.number) + shape[2:], form.operands)
    if form.holds or shape[0] not in _NUMBERS:
        return None
    return PatternStep(b"", None, shape, _NUMBERS[shape[0]] == 2, b"", form.operands)


def compile_pattern(
    locals_: bytes, runs: list[bytes], tokens: list[bytes], step_of: PatternSteps, scratch: Scratch | None
) -> BytePattern | None:
    """The byte pattern of a function that is tokenized coarsely, unless it has tokens that are rarely seen.

    `scratch` are the locals that it may use for nothing but checked loads.
    """
    steps: list[Step] = []
    operands: list[Operand] = []
    before = b""
    left = [runs[0]]  # of the runs, without what is read as part of a load
    is_checked = False
    for run, step in zip(runs[1:], map(step_of.__getitem__, tokens), strict=True):
        if step is None:
            return None
        load, after = None, run
        if step.slot_read and step.shape == _I32_CONST:
            if scratch and (checked := scratch.checked_load(left[-1], after)):
                is_checked = True
                left[-1], access, after = checked
                load = Load(access, 1, b"")
            elif len(after) > 2 and after[0] in LOADS and after[1] <= MOST_PLAIN and not after[2]:
                load = Load(_ZERO + after[:2], 0, after[:3])
                after = after[3:]
        expected = before + left[-1] + step.constant
        steps.append((expected, len(expected), step, load))
        operands += step.operands
        before = step.after
        left.append(after)
    if scratch and is_checked:
        if max(locals_named(left), default=-1) >= scratch.first:
            return None
        locals_ = scratch.others
    return BytePattern(locals_, steps, before + left[-1], operands)


def match_pattern(
    pattern: BytePattern, data: bytes, span: tuple[int, int, int], slots: SlotConstants, token_reader: TokenReader
) -> list[Operand] | None:
    """The operands of the function in `data` that has this span, if it matches the pattern; else None."""
    body, position, end = span
    if data[body:position] != pattern.locals:
        return None
    operands: list[Operand] = []
    for run, size, (always, slot_read, shape, has_two, _, _), load in pattern.steps:
        if data.startswith(run, position):
            position += size
            if always:
                continue
        elif always and data.startswith(run[: -len(always)], position):
            position += size - len(always)  # what follows may be the same constant, padded
        else:
            return None
        constant = slots[slot_read] if slot_read else always
        if load and (after := _after_load(data, position, load, constant)):
            position = after
            continue
        if slot_read and data.startswith(constant, position):
            position += len(constant)
        else:
            token = _token(data, position, end, shape[0], has_two)
            if constant:
                token = token or _token(data, position, end, _GLOBAL_GET, False)
                if not token or _written(token_reader[token]) != constant:
                    return None
            else:
                if not token or (found := token_reader[token]).shape != shape:
                    return None
                operands += found.operands
            position += len(token)
        if load:
            if not load.after_constant or not data.startswith(load.after_constant, position):
                return None
            position += len(load.after_constant)
    return operands if data[position:end] == pattern.last else None


def _after_load(data: bytes, position: int, load: Load, constant: bytes) -> int:
    """Where a load ends that has its address as its offset; zero when there is none, or of another address."""
    if not data.startswith(load.before_offset, position):
        return 0
    offset, after = decode_unsigned(data, position + len(load.before_offset))
    address, _ = decode_signed(constant, 1)
    return after if offset == (address & mask(_I32_CONST)) + load.more else 0


def _token(data: bytes, position: int, end: int, opcode: int, has_two: bool) -> bytes:
    """An opcode and one or two numbers, or nothing when something else is there."""
    if position >= end or data[position] != opcode:
        return b""
    # A function ends with a byte that ends any number: so does the search for one.
    stop = position + 2
    if opcode in _BLOCKS and stop < end and data[stop - 1] in _REFERENCES:
        stop += 1  # the type is the one byte and then a number
    while data[stop - 1] > _LAST_OF_NUMBER:
        stop += 1
    if has_two and stop < end:
        stop += 1
        while data[stop - 1] > _LAST_OF_NUMBER:
            stop += 1
    return data[position:stop] if stop < end else b""


def _written(form: InstructionForm) -> bytes:
    """The constant that a token of a blob is, if it is one, as it is written when nothing pads it."""
    return _constant(form.shape, form.number) if form.holds == Number.CONSTANT and form.shape in _CONSTANTS else b""


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
