"""A function's code in the form in which it is compared: runs and tokens, each token read.

Two functions with equal locals, runs and shapes are the same instructions one by one; what is left to compare are the
numbers and the operands, both in the order of the code.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate, chain

from bacpack.proof.code.byte_matcher import BytePattern, PatternSteps, compile_pattern
from bacpack.proof.code.checked_loads import Scratch, Tokens, join_checked_loads, without_last
from bacpack.proof.code.instruction_forms import NONE, InstructionForm, Number, Operand, TokenReader, add, mask
from bacpack.proof.code.module_view import ModuleView
from bacpack.proof.code.tokenizer import Depth, tokenize
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import I32

_I32_CONST = 0x41
#: `i32.add` and `i64.add`, by the shape of the constants they add.
_ADD = {b"\x41": b"\x6a", b"\x42": b"\x7c"}
_ADDITIONS = b"".join(_ADD.values())


@dataclass(frozen=True, slots=True)
class Slot:
    """A number to which a program adds the value of a slot."""

    #: Which of the code's numbers.
    position: int
    #: The global of the code's own module.
    index: int
    mask: int
    #: What is added after the sum has been masked.
    more: int


@dataclass(frozen=True, slots=True)
class Code:
    """A function's code, finely tokenized; constants that are added to each other are one."""

    locals: bytes
    runs: list[bytes]
    #: What each token says, and where it starts and ends, counted from the first instruction.
    forms: list[InstructionForm]
    starts: array[int]
    ends: array[int]
    shapes: list[bytes]
    #: Values of constants and offsets, less what slots add to them.
    numbers: list[int]
    slots: list[Slot]
    operands: list[Operand]


class Room:
    """How much code may be kept in this form, which takes many times the memory that the code does."""

    def __init__(self, pieces: int = 2_000_000) -> None:
        self._left = pieces

    def take(self, pieces: int) -> bool:
        """Take room for so many pieces of code; whether it was there."""
        if pieces > self._left:
            return False
        self._left -= pieces
        return True


class Codes:
    """The code of one module's functions. That of a shared module is kept in `room`: other programs use it too."""

    def __init__(self, view: ModuleView, room: Room | None = None) -> None:
        self.view = view
        self._room = room or Room()
        self.token_reader = TokenReader(view)
        self._steps = PatternSteps(self.token_reader)
        self._locals: dict[bytes, list[tuple[int, bytes]]] = {}
        self._tracks: dict[int, BytePattern | None] = {}
        self._codes: dict[int, Code] = {}

    def pattern(self, index: int) -> BytePattern | None:
        """What a function must be to equal one that the module defines, in the form that is quick to compare."""
        if index in self._tracks:
            return self._tracks[index]
        data = self.view.module.data
        body, start, end = self.view.span(index)
        runs, tokens = tokenize(data, start, end, Depth.COARSE)
        pattern = compile_pattern(data[body:start], runs, tokens, self._steps, self._scratch(index, data[body:start]))
        if self.view.is_shared and self._room.take(1 + len(tokens)):
            self._tracks[index] = pattern
        return pattern

    def code(self, index: int) -> Code:
        """The code of a function that the module defines."""
        code = self._codes.get(index)
        if code is None:
            data = self.view.module.data
            body, start, end = self.view.span(index)
            folded = self._fold(*tokenize(data, start, end, Depth.FINE))
            groups = self._local_groups(data[body:start])
            if self.view.is_shared and (joined := self._join_checked_loads(index, groups, folded)):
                groups, folded = joined
            runs, forms, starts, ends = folded
            numbered = [form for form in forms if form.holds]
            code = Code(
                _locals_key(groups),
                runs,
                forms,
                starts,
                ends,
                [form.shape for form in forms],
                [form.number for form in numbered],
                [
                    Slot(at, form.slot, mask(form.shape), form.more)
                    for at, form in enumerate(numbered)
                    if form.slot != NONE
                ],
                [operand for form in forms for operand in form.operands],
            )
            if self.view.is_shared and self._room.take(1 + len(forms)):
                self._codes[index] = code
        return code

    def _fold(self, runs: list[bytes], tokens: list[bytes]) -> Tokens:
        """Make one constant of constants that are added, and one call of an entry's number and the call through it."""
        forms = list(map(self.token_reader.__getitem__, tokens))
        bounds = list(accumulate(chain.from_iterable(zip(map(len, runs), map(len, tokens), strict=False))))
        whole = Tokens(runs, forms, array("I", bounds[::2]), array("I", bounds[1::2]))
        out = Tokens([runs[0]], [], array("I"), array("I"))
        done = 0
        for number in [number for number, run in enumerate(runs[:-1]) if number and not run.strip(_ADDITIONS)]:
            form, after = forms[number], runs[number + 1]
            if form.table == NONE and not (form.holds == Number.CONSTANT and after.startswith(_ADD[form.shape])):
                continue
            out.append(whole, done, number)
            start, end = whole.starts[number], whole.ends[number]
            while out.forms and not out.runs[-1]:
                last = tokens[number - 1]
                if (
                    form.table != NONE
                    and last[0] == _I32_CONST
                    and (out.starts[-1], out.ends[-1]) == (start - len(last), start)
                ):
                    form = self.token_reader[last + tokens[number]]
                elif _are_added(out.forms[-1], form, after):
                    form, after, end = add(out.forms[-1], form), after[1:], end + 1
                else:
                    break
                start = out.starts.pop()
                out.ends.pop()
                out.forms.pop()
                out.runs.pop()
            out.append(Tokens([b"", after], [form], array("I", (start,)), array("I", (end,))), 0, 1)
            done = number + 1
        out.append(whole, done, len(forms))
        return out

    def _local_groups(self, declarations: bytes) -> list[tuple[int, bytes]]:
        """How many locals of which type, one after the other."""
        groups = self._locals.get(declarations)
        if groups is None:
            reader = Reader(declarations)
            groups = []
            for _ in range(reader.u32("the number of local declarations")):
                groups.append((reader.u32("a number of locals"), self.view.value_key(reader.value_type())))
            self._locals[declarations] = groups
        return groups

    def _join_checked_loads(
        self, index: int, groups: list[tuple[int, bytes]], parts: Tokens
    ) -> tuple[list[tuple[int, bytes]], Tokens] | None:
        """The function with checked loads as a blob has them, and the locals that are left; None if it has none."""
        own = without_last(groups, I32, 2)
        if own is None:
            return None
        joined = join_checked_loads(parts, self._count_locals(index, own))
        return joined and (own, joined)

    def _scratch(self, index: int, declarations: bytes) -> Scratch | None:
        """The locals that checked loads of a function may use; None when it has none, or some of rare types."""
        own = without_last(self._local_groups(declarations), I32, 2) if self.view.is_shared else None
        if own is None or any(len(type_) > 1 for _, type_ in own):
            return None
        others = encode_unsigned(len(own)) + b"".join(encode_unsigned(number) + type_ for number, type_ in own)
        return Scratch(self._count_locals(index, own), others)

    def _count_locals(self, index: int, groups: list[tuple[int, bytes]]) -> int:
        """How many locals a function has, parameters included."""
        module = self.view.module
        parameters = module.function_type(module.function_types[index]).params
        return len(parameters) + sum(number for number, _ in groups)


def _locals_key(groups: list[tuple[int, bytes]]) -> bytes:
    """Bytes that are equal for equal locals, however they are declared."""
    parts: list[bytes] = []
    last, count = b"", 0
    for number, type_ in groups:
        if type_ != last and number:
            parts.append(b"%d %s " % (count, last))
            last, count = type_, 0
        count += number
    return b"".join(parts) + b"%d %s" % (count, last)


def _are_added(first: InstructionForm, second: InstructionForm, after: bytes) -> bool:
    return (
        first.holds == second.holds == Number.CONSTANT
        and first.shape == second.shape
        and NONE in (first.slot, second.slot)
        and after.startswith(_ADD[first.shape])
    )
