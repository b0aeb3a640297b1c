"""Which access to memory takes its address from a given constant.

Toolchains write an access to a global variable as a constant zero and an offset that is the address; a split may write
the address as the constant and zero as the offset. Both reach the same byte, or trap alike, if the sums are equal as
natural numbers and if nothing but the access sees the constant. That is what is found out here: from the constant on,
the height of the stack above it tells which instruction takes it.

What a structured instruction does inside cannot touch what was on the stack before it, so nested blocks are passed
over; a branch out of one leaves the constant unseen. Whatever is not known to leave it alone ends the search.
"""

from __future__ import annotations

from bacpack.proof.unit import Unit, at
from bacpack.wasm import FuncType
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader

_OPENING = frozenset(("block", "loop", "if", "try_table"))
#: Instructions of the legacy exception handling, whose blocks do not nest in the same way.
_LEGACY = frozenset(("try", "catch", "catch_all", "delegate", "rethrow"))
_VOID = -64

_UNARY = frozenset((
    "eqz", "clz", "ctz", "popcnt", "abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt", "wrap_i64", "demote_f64",
    "promote_f32", "extend8_s", "extend16_s", "extend32_s", "extend_i32_s", "extend_i32_u",
))  # fmt: skip
_UNARY_PREFIXES = ("trunc_", "convert_", "reinterpret_")
_BINARY = frozenset((
    "add", "sub", "mul", "div", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl",
    "rotr", "min", "max", "copysign", "eq", "ne", "lt", "gt", "le", "ge", "lt_s", "lt_u", "gt_s", "gt_u", "le_s",
    "le_u", "ge_s", "ge_u",
))  # fmt: skip
# What other instructions take from the stack and put on it.
_OTHER = {
    **dict.fromkeys(("nop", "data.drop", "elem.drop"), (0, 0)),
    **dict.fromkeys(("local.get", "global.get", "memory.size", "table.size", "ref.func", "ref.null"), (0, 1)),
    **dict.fromkeys(("i32.const", "i64.const", "f32.const", "f64.const", "v128.const"), (0, 1)),
    **dict.fromkeys(("local.set", "global.set", "drop"), (1, 0)),
    **dict.fromkeys(("local.tee", "memory.grow", "table.get", "ref.is_null"), (1, 1)),
    "select": (3, 1),
    "table.set": (2, 0),
    "table.grow": (2, 1),
    **dict.fromkeys(("memory.copy", "memory.fill", "memory.init"), (3, 0)),
    **dict.fromkeys(("table.copy", "table.fill", "table.init"), (3, 0)),
}


def access_at(unit: Unit, function: int, position: int) -> int | None:
    """The access whose address is the constant that ends at `position`, when nothing else sees that constant.

    Positions are counted from the first instruction of the function, in bytes.
    """
    _, start, end = unit.span(function)
    reader = Reader(unit.module.data, start + position, end)
    height = 1  # of the stack, counted from the constant
    while reader.remaining:
        at_ = reader.position
        row, values = reader.instruction()
        if row.name in _OPENING:
            type_ = _block_type(unit, values)
            taken = len(type_.params) + (row.name == "if")
            if taken >= height or not _pass_block(reader):
                return None
            height += len(type_.results) - taken
            continue
        if row.name == "br_if":
            carried = _label_arity(unit, function, at_, values[0])
            effect = None if carried is None else (carried + 1, carried)
        else:
            effect = _effect(unit, row, values)
        if effect is None:
            return None
        taken, given = effect
        if taken >= height:
            is_base = taken == height and _is_access(row)
            return at_ - start if is_base else None
        height += given - taken
    return None


def _is_access(row: Opcode) -> bool:
    """Whether the instruction is a load or store: the lowest value that it takes is an address."""
    return row.immediates[:1] == ("memarg",) and (".load" in row.name or ".store" in row.name)


def _effect(unit: Unit, row: Opcode, values: list[int]) -> tuple[int, int] | None:
    """How many values an instruction takes from the stack and puts on it, if that is known and it does not branch."""
    if row.name in _OTHER:
        return _OTHER[row.name]
    if _is_access(row):
        is_load = ".load" in row.name
        return 1 + (not is_load or row.name.endswith("_lane")), int(is_load)
    if row.name == "call":
        return _arity(unit.module.function_type(at(unit.module.function_types, values[0], "function")), 0)
    if row.name in ("call_indirect", "call_ref"):
        return _arity(unit.module.function_type(values[0]), 1)
    type_, _, operation = row.name.partition(".")
    if type_ in ("i32", "i64", "f32", "f64") and not row.immediates:
        if operation in _UNARY or operation.startswith(_UNARY_PREFIXES):
            return 1, 1
        if operation in _BINARY:
            return 2, 1
    return None


def _arity(type_: FuncType, more: int) -> tuple[int, int]:
    return len(type_.params) + more, len(type_.results)


def _block_type(unit: Unit, values: list[int]) -> FuncType:
    if values[0] >= 0:
        return unit.module.function_type(values[0])
    return FuncType((), () if values[0] == _VOID else (b"",))


def _pass_block(reader: Reader) -> bool:
    """Go on to after the end of the block that was just opened; return whether it was found."""
    depth = 1
    while depth and reader.remaining:
        name = reader.instruction()[0].name
        if name in _LEGACY:
            return False
        depth += (name in _OPENING) - (name == "end")
    return depth == 0


def _label_arity(unit: Unit, function: int, until: int, label: int) -> int | None:
    """How many values a branch at `until` to `label` carries."""
    _, start, end = unit.span(function)
    reader = Reader(unit.module.data, start, end)
    arities = [len(unit.module.function_type(at(unit.module.function_types, function, "function")).results)]
    while reader.position < until:
        row, values = reader.instruction()
        if row.name in _LEGACY:
            return None
        if row.name in _OPENING:
            type_ = _block_type(unit, values)
            arities.append(len(type_.params if row.name == "loop" else type_.results))
        elif row.name == "end":
            arities.pop()
    return arities[-1 - label] if label < len(arities) else None
