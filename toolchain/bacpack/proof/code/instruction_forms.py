"""What a token says, freed from the numbering of its module: a shape that must be equal, and the operands in it.

Types count by structure. A read of a global that never changes is the constant that it holds, and a read of a slot is a
constant whose value the program sets; a call through an entry of a
shared module's own table is a direct call whose callee the program sets.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from bacpack.proof.code.bounded_growth import find_growth
from bacpack.proof.code.constant_globals import constant_globals
from bacpack.proof.code.module_view import Callee, Role, Unit, at
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


class Form(NamedTuple):
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


class Reading(dict[bytes, Form]):
    """The forms of the tokens of one module, each read once; of very many different ones, again after a while."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self._unit = unit
        self._constants = {} if unit.is_shared else constant_globals(unit)

    def __missing__(self, token: bytes) -> Form:
        form = self._read(token)  # which may read parts of it
        if len(self) >= MOST_FORMS:
            self.clear()
        self[token] = form
        return form

    def _read(self, token: bytes) -> Form:
        # Nearly all different tokens are constants and calls.
        if token[0] == _I32_CONST:
            if constant := _constant(token):
                return constant
        elif token[0] == _CALL and self._unit.role != Role.REMAINDER:
            callee, _ = decode_unsigned(token, 1)
            return Form(b"\x10" + self._unit.function_key(callee), Number.NONE, 0, NONE, (callee,))
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
        return Form(first.shape + second.shape + rest[-1:], Number.CONSTANT, second.number, NONE, first.operands)

    def _entry_call(self, entry: Form, call: Form) -> Form:
        if call.table == NONE:
            return Form(entry.shape + call.shape, Number.CONSTANT, entry.number, NONE, call.operands)
        return Form(call.shape[1:], operands=(("late", call.table, entry.number),))

    def _instruction(self, row: Opcode, values: list[int], token: bytes) -> Form:
        unit, name = self._unit, row.name
        if name in ("i32.const", "i64.const"):
            return Form(row.encoding, Number.CONSTANT, values[0] & mask(row.encoding))
        if name in ("global.get", "global.set"):
            return self._global(row, values[0])
        if name in ("call", "return_call"):
            if name == "call" and (growth := find_growth(unit, values[0])):
                return _grow(growth.instruction, growth.maximum, 0)
            return Form(row.encoding + unit.function_key(values[0]), operands=(values[0],))
        if name in _DIRECT:
            type_, table = unit.type_key(values[0]), values[1]
            if unit.has_private_table(table):
                return Form(_NOTHING_ALIKE + _DIRECT[name] + type_, table=table)
            return Form(row.encoding + type_, operands=(("table", table),))
        if name in ("memory.grow", "table.grow"):
            declared = unit.memory_type(values[0]) if name == "memory.grow" else unit.table_type(values[0]).limits
            return _grow(name, declared.maximum, values[0])
        if row.immediates[0] == "memarg":
            alignment, memory, offset = values[:3]
            lane = token[-1:] if len(row.immediates) > 1 else b""
            operands = (("memory", memory),) if memory else ()
            what = alignment | _OTHER_MEMORY if memory else alignment
            return Form(row.encoding + encode_unsigned(what) + lane, Number.OFFSET, offset, NONE, operands)
        if name == "try_table":
            return self._try_table(row, token)
        if row.immediates == ("block",):
            return Form(row.encoding + self._block_type(token[1:], values[0]))
        if set(row.immediates) & {"types", "heap", "cast"}:
            return Form(row.encoding + unit.own_key(token))
        return self._indices(row, values)

    def _global(self, row: Opcode, index: int) -> Form:
        unit = self._unit
        own = index - len(unit.imports[Kind.GLOBAL])
        if unit.is_shared and own >= 0:
            value = at(unit.module.globals, own, "global").type.value
            if row.name == "global.get" and value in _CONSTANTS:
                return Form(_CONSTANTS[value], Number.CONSTANT, 0, index)
            return Form(_NOTHING_ALIKE)
        if row.name == "global.get" and index in self._constants:
            type_, number = self._constants[index]
            return Form(_CONSTANTS[type_], Number.CONSTANT, number)
        return Form(row.encoding, operands=(("global", index),))

    def _block_type(self, content: bytes, value: int) -> bytes:
        if value >= 0:
            return self._unit.type_key(value)
        return content if len(content) == 1 else self._unit.own_key(content)

    def _try_table(self, row: Opcode, token: bytes) -> Form:
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
        return Form(shape, operands=tuple(operands))

    def _indices(self, row: Opcode, values: list[int]) -> Form:
        """The form of an instruction with immediates that are all numbers: indices, labels and counts."""
        shape, operands = row.encoding, list[Operand]()
        for kind, value in zip(row.immediates, values, strict=True):
            if kind == "type":
                shape += self._unit.type_key(value)
            elif kind == "func":
                operands.append(("reference", value))
            elif kind in _ENTITIES:
                operands.append((kind, value))
            else:
                shape += encode_unsigned(value)
        return Form(shape, operands=tuple(operands))


@lru_cache(maxsize=1 << 16)
def _constant(token: bytes) -> Form | None:
    """The form of a token that starts with `i32.const`, if it is nothing more. Programs have many of them in common."""
    value, end = decode_signed(token, 1)
    return Form(b"\x41", Number.CONSTANT, value & _WORD) if end == len(token) else None


def add(first: Form, second: Form) -> Form:
    """The sum of two constants, of which at most one is a slot."""
    number = first.number + second.number & mask(first.shape)
    return Form(first.shape, Number.CONSTANT, number, max(first.slot, second.slot))


def _grow(instruction: str, maximum: int | None, index: int) -> Form:
    """Growing a memory or table: what it may become is part of the shape."""
    kind = instruction.partition(".")[0]
    return Form(b"%s up to %s" % (instruction.encode(), str(maximum).encode()), operands=((kind, index),))
