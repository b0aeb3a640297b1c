"""Which access to memory takes its address from a given constant.

Toolchains write an access to a global variable as a constant zero and an offset that is the address; a split may write
the address as the constant and zero as the offset. Both reach the same byte, or trap alike, if the sums are equal as
natural numbers and if nothing but the access sees the constant. That is what is found out here, by following which
instruction put each value on the stack: from the constant on, for most accesses are near; for others once through all
of the function.

What a structured instruction does inside cannot touch what was on the stack before it, and a branch out of one leaves
that unseen. Below what is known of a stack are values of which nothing is said: so it goes on after an instruction that
is not known, and after one that never goes on.
"""

from __future__ import annotations

from array import array

from bacpack.proof.code.module_view import ModuleView, at, decoded
from bacpack.wasm import FuncType, WasmError
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader

_OPENING = frozenset(("block", "loop", "if", "try_table", "try"))
#: What begins another part of a block: what the block has put on the stack is gone.
_PARTS = frozenset(("else", "catch", "catch_all"))
_CLOSING = frozenset(("end", "delegate"))
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
#: A value of which nothing is known.
_UNKNOWN = -1
#: Functions and blocks with more results are rare.
_MOST_VALUES = 16
#: An access is near within so many bytes after the constant. Constants may be many, so it is a number.
_NEAR = 64


class Bases:
    """Which access takes its address from which constant in one function of a module."""

    def __init__(self, view: ModuleView, function: int) -> None:
        self._view = view
        self._function = function
        self._all: array[int] | None = None

    def access(self, position: int) -> int:
        """Where the access starts whose address is what the instruction that ends at `position` put there.

        Zero where there is none, or where something else sees that value. Positions are counted from the first
        instruction, in bytes.
        """
        _, start, end = self._view.span(self._function)
        found = _near_access(self._view, start + position, end)
        if found is not None:
            return found and found - start
        if self._all is None:
            self._all = accesses(self._view, self._function)
        return self._all[position]


def _near_access(view: ModuleView, start: int, end: int) -> int | None:
    """Where the access starts that takes what was put on the stack just before `start`; zero if something else does.

    None when that is not known after a few instructions, one after the other.
    """
    above = 0  # values on the stack above that one
    position = start
    try:
        for row, values, content in decoded(view.module.data, start, min(end, start + _NEAR)):
            effect = _effect(view, row, values)
            if effect is None or effect[1] > _MOST_VALUES:
                return None
            taken, given = effect
            if taken > above:
                return position if _is_access(row) and taken == above + 1 else 0
            above += given - taken
            position += len(content)
    except WasmError:  # an instruction goes on beyond what is looked at
        return None
    return None


def accesses(view: ModuleView, function: int) -> array[int]:
    """What `Bases.access` returns, at each position where an instruction ends."""
    _, start, end = view.span(function)
    results = view.module.function_type(at(view.module.function_types, function, "function")).results
    stack: list[int] = []  # for each value the end of the instruction that put it there
    frames = [(0, len(results), len(results))]  # the height below, what a branch carries, what the end leaves
    found = array("I", bytes(4)) * (end - start + 1)
    reader = Reader(view.module.data, start, end)
    while reader.remaining and frames:
        position = reader.position - start
        row, values = reader.instruction()
        base = frames[-1][0]
        if row.name in _OPENING:
            type_ = _block_type(view, values)
            _pop(stack, base, len(type_.params) + (row.name == "if"))
            frames.append((len(stack), len(type_.params if row.name == "loop" else type_.results), len(type_.results)))
        elif row.name in _PARTS:
            del stack[base:]
        elif row.name in _CLOSING:
            _, _, left = frames.pop()
            del stack[base:]
            _push(stack, frames[-1][0] if frames else 0, left, _UNKNOWN)
        elif row.name == "br_if":
            carried = frames[-1 - values[0]][1] if values[0] < len(frames) else 0
            _pop(stack, base, carried + 1)
            _push(stack, base, carried, _UNKNOWN)
        elif effect := _effect(view, row, values):
            taken, given = effect
            lowest = _pop(stack, base, taken)
            if _is_access(row) and lowest != _UNKNOWN:
                found[lowest] = position
            _push(stack, base, given, reader.position - start if given == 1 else _UNKNOWN)
        else:
            del stack[base:]
    return found


def _pop(stack: list[int], base: int, count: int) -> int:
    """Take so many values from the part of the stack above `base`; return the lowest."""
    lowest = stack[-count] if 0 < count <= len(stack) - base else _UNKNOWN
    del stack[max(base, len(stack) - count) :]
    return lowest


def _push(stack: list[int], base: int, count: int, value: int) -> None:
    """Put a value on the stack so many times; after very many, nothing is known any more of those above `base`."""
    if count > _MOST_VALUES:
        del stack[base:]
    else:
        stack += [value] * count


def _is_access(row: Opcode) -> bool:
    """Whether the instruction is a load or store: the lowest value that it takes is an address."""
    return row.immediates[:1] == ("memarg",) and (".load" in row.name or ".store" in row.name)


def _effect(view: ModuleView, row: Opcode, values: list[int]) -> tuple[int, int] | None:
    """How many values an instruction takes from the stack and puts on it, if that is known and it does not branch."""
    if row.name in _OTHER:
        return _OTHER[row.name]
    if _is_access(row):
        is_load = ".load" in row.name
        return 1 + (not is_load or row.name.endswith("_lane")), int(is_load)
    if row.name == "call":
        return _arity(view.module.function_type(at(view.module.function_types, values[0], "function")), 0)
    if row.name in ("call_indirect", "call_ref"):
        return _arity(view.module.function_type(values[0]), 1)
    type_, _, operation = row.name.partition(".")
    if type_ in ("i32", "i64", "f32", "f64") and not row.immediates:
        if operation in _UNARY or operation.startswith(_UNARY_PREFIXES):
            return 1, 1
        if operation in _BINARY:
            return 2, 1
    return None


def _arity(type_: FuncType, more: int) -> tuple[int, int]:
    return len(type_.params) + more, len(type_.results)


def _block_type(view: ModuleView, values: list[int]) -> FuncType:
    if values[0] >= 0:
        return view.module.function_type(values[0])
    return FuncType((), () if values[0] == _VOID else (b"",))
