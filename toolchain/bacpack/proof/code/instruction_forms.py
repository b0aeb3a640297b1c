"""What a token says, freed from the numbering of its module: a shape that must be equal, and the operands in it.

Types count by structure. A read of a global that never changes is the constant that it holds, and a read of a slot is a
constant whose value the program sets; a call through an entry of a shared module's own table is a direct call whose
callee the program sets.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from bacpack.proof.code.bounded_growth import find_bounded_growth
from bacpack.proof.code.constant_globals import constant_globals
from bacpack.proof.code.module_view import Callee, ModuleView, Role, at
from bacpack.wasm import Kind
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_unsigned
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import I32, I64

#: Something of a module named by number: what is called, or the kind of anything else and its number.
Operand = Callee | tuple[str, int]

#: The value of a slot in the program that is compared, by the number of its global.
SlotValue = Callable[[int], int]
#: No slot.
NONE = -1

_WORD, _LONG = (1 << 32) - 1, (1 << 64) - 1
# No opcode starts with this byte, so what has it in its shape equals nothing in a blob.
_NOTHING_ALIKE = b"\xff"
_DIRECT = {"call_indirect": b"\x10", "return_call_indirect": b"\x12"}
_ENTITIES = frozenset(("table", "global", "memory", "data", "elem", "tag"))
_VOID = -64
#: So many forms of a module are kept: programs have a tenth of it.
MOST_FORMS = 200_000
#: Says in a shape that an access is not to the first memory, which has no operand.
_OTHER_MEMORY = 0x40
_CALL, _I32_CONST = 0x10, 0x41
#: The shapes of constants, by their types.
_CONSTANTS = {I32: b"\x41", I64: b"\x42"}


class Number(IntEnum):
    """What a form's number is."""

    NONE = 0
    #: The value of a constant, without sign.
    CONSTANT = 1
    #: The offset of an access to memory.
    OFFSET = 2


class InstructionForm(NamedTuple):
    """What a token says."""

    shape: bytes
    holds: Number = Number.NONE
    number: int = 0
    #: The global of its own module whose value is added to the number, or `NONE`.
    slot: int = NONE
    operands: tuple[Operand, ...] = ()
    #: The private table that this calls through: a direct call, if the entry is known.
    table: int = NONE
    #: What is added to the sum of number and slot after that has been cut to the size of a constant.
    more: int = 0


def mask(shape: bytes) -> int:
    """The largest value of a constant with this shape."""
    return _LONG if shape == b"\x42" else _WORD


class TokenReader(dict[bytes, InstructionForm]):
    """The forms of the tokens of one module, each read once; of very many different ones, again after a while."""

    def __init__(self, view: ModuleView) -> None:
        super().__init__()
        self._view = view
        self._constants = {} if view.is_shared else constant_globals(view)

    def __missing__(self, token: bytes) -> InstructionForm:
        form = self._read(token)  # which may read parts of it
        if len(self) >= MOST_FORMS:
            self.clear()
        self[token] = form
        return form

    def _read(self, token: bytes) -> InstructionForm:
        # Nearly all different tokens are constants and calls.
        if token[0] == _I32_CONST:
            if constant := _constant(token):
                return constant
        elif token[0] == _CALL and self._view.role != Role.REMAINDER:
            callee, _ = decode_unsigned(token, 1)
            return InstructionForm(b"\x10" + self._view.function_key(callee), Number.NONE, 0, NONE, (callee,))
        reader = Reader(token)
        row, values = reader.instruction()
        if not reader.remaining:
            return self._instruction(row, values, token)
        first = self[token[: reader.position]]
        rest = token[reader.position :]
        second = self[rest] if row.name == "i32.const" else self[rest[:-1]]
        if row.name == "i32.const":
            return self._entry_call(first, second)
        if first.holds:  # a slot or another constant, and a constant
            return add(first, second)
        return InstructionForm(
            first.shape + second.shape + rest[-1:], Number.CONSTANT, second.number, NONE, first.operands
        )

    def _entry_call(self, entry: InstructionForm, call: InstructionForm) -> InstructionForm:
        if call.table == NONE:
            return InstructionForm(entry.shape + call.shape, Number.CONSTANT, entry.number, NONE, call.operands)
        return InstructionForm(call.shape[1:], operands=(("late", call.table, entry.number),))

    def _instruction(self, row: Opcode, values: list[int], token: bytes) -> InstructionForm:
        view, name = self._view, row.name
        if name in ("i32.const", "i64.const"):
            return InstructionForm(row.encoding, Number.CONSTANT, values[0] & mask(row.encoding))
        if name in ("global.get", "global.set"):
            return self._global(row, values[0])
        if name in ("call", "return_call"):
            if name == "call" and (bounded := find_bounded_growth(view, values[0])):
                return _grow(bounded.instruction, bounded.maximum, 0)
            return InstructionForm(row.encoding + view.function_key(values[0]), operands=(values[0],))
        if name in _DIRECT:
            type_, table = view.type_key(values[0]), values[1]
            if view.has_private_table(table):
                return InstructionForm(_NOTHING_ALIKE + _DIRECT[name] + type_, table=table)
            return InstructionForm(row.encoding + type_, operands=(("table", table),))
        if name in ("memory.grow", "table.grow"):
            declared = view.memory_type(values[0]) if name == "memory.grow" else view.table_type(values[0]).limits
            return _grow(name, declared.maximum, values[0])
        if row.immediates[0] == "memarg":
            alignment, memory, offset = values[:3]
            lane = token[-1:] if len(row.immediates) > 1 else b""
            operands = (("memory", memory),) if memory else ()
            what = alignment | _OTHER_MEMORY if memory else alignment
            return InstructionForm(row.encoding + encode_unsigned(what) + lane, Number.OFFSET, offset, NONE, operands)
        if name == "try_table":
            return self._try_table(row, token)
        if row.immediates == ("block",):
            return InstructionForm(row.encoding + self._block_type(token[1:], values[0]))
        if set(row.immediates) & {"types", "heap", "cast"}:
            return InstructionForm(row.encoding + view.own_key(token))
        return self._indices(row, values)

    def _global(self, row: Opcode, index: int) -> InstructionForm:
        view = self._view
        own = index - len(view.imports[Kind.GLOBAL])
        if view.is_shared and own >= 0:
            value = at(view.module.globals, own, "global").type.value
            if row.name == "global.get" and value in _CONSTANTS:
                return InstructionForm(_CONSTANTS[value], Number.CONSTANT, 0, index)
            return InstructionForm(_NOTHING_ALIKE)
        if row.name == "global.get" and index in self._constants:
            type_, number = self._constants[index]
            return InstructionForm(_CONSTANTS[type_], Number.CONSTANT, number)
        return InstructionForm(row.encoding, operands=(("global", index),))

    def _block_type(self, content: bytes, value: int) -> bytes:
        if value >= 0:
            return self._view.type_key(value)
        return content if len(content) == 1 else self._view.own_key(content)

    def _try_table(self, row: Opcode, token: bytes) -> InstructionForm:
        reader = Reader(token, 1)
        if token[1] in (0x63, 0x64):
            reader.value_type()
            value = _VOID
        else:
            value = reader.s33("a block type")
        shape = row.encoding + self._block_type(token[1 : reader.position], value)
        operands: list[Operand] = []
        for _ in range(reader.u32("the number of handlers")):
            handler = reader.byte()
            if handler < 2:
                operands.append(("tag", reader.u32("a tag index")))
            shape += bytes([handler]) + encode_unsigned(reader.u32("a label"))
        return InstructionForm(shape, operands=tuple(operands))

    def _indices(self, row: Opcode, values: list[int]) -> InstructionForm:
        """The form of an instruction with immediates that are all numbers: indices, labels and counts."""
        shape, operands = row.encoding, list[Operand]()
        for kind, value in zip(row.immediates, values, strict=True):
            if kind == "type":
                shape += self._view.type_key(value)
            elif kind == "func":
                operands.append(("reference", value))
            elif kind in _ENTITIES:
                operands.append((kind, value))
            else:
                shape += encode_unsigned(value)
        return InstructionForm(shape, operands=tuple(operands))


@lru_cache(maxsize=1 << 16)
def _constant(token: bytes) -> InstructionForm | None:
    """The form of a token that starts with `i32.const`, if it is nothing more. Programs have many of them in common."""
    value, end = decode_signed(token, 1)
    return InstructionForm(b"\x41", Number.CONSTANT, value & _WORD) if end == len(token) else None


def add(first: InstructionForm, second: InstructionForm) -> InstructionForm:
    """The sum of two constants, of which at most one is a slot."""
    number = first.number + second.number & mask(first.shape)
    return InstructionForm(first.shape, Number.CONSTANT, number, max(first.slot, second.slot))


def _grow(instruction: str, maximum: int | None, index: int) -> InstructionForm:
    """Growing a memory or table: what it may become is part of the shape."""
    kind = instruction.partition(".")[0]
    return InstructionForm(b"%s up to %s" % (instruction.encode(), str(maximum).encode()), operands=((kind, index),))
