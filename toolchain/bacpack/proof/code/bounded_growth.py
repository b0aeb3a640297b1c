"""Functions that stand for `memory.grow` and `table.grow` where the blob declares a maximum.

The environment declares none, so a remainder grows through a function that fails where the blob's instruction failed.
Such a function is accepted only when it is, instruction for instruction, one of the two below.
"""

from __future__ import annotations

from typing import NamedTuple

from bacpack.proof.code.module_view import ModuleView, Role
from bacpack.wasm import FuncType, Kind
from bacpack.wasm.types import FUNCREF, I32

_RESULT_I32 = -1  # the block type of one i32
_UNKNOWN = None  # the maximum


class BoundedGrowth(NamedTuple):
    """What a function does: it grows memory or table 0 of its module, up to a maximum."""

    instruction: str
    maximum: int


def _program(size: str, count: int, grow: str, arguments: int) -> list[tuple[str, list[int] | None]]:
    """If the size and the count come to more than the maximum as 64-bit numbers, return -1, else grow."""
    return [
        (size, [0]),
        ("i64.extend_i32_u", []),
        ("local.get", [count]),
        ("i64.extend_i32_u", []),
        ("i64.add", []),
        ("i64.const", _UNKNOWN),
        ("i64.gt_u", []),
        ("if", [_RESULT_I32]),
        ("i32.const", [-1]),
        ("else", []),
        *[("local.get", [argument]) for argument in range(arguments)],
        (grow, [0]),
        ("end", []),
        ("end", []),
    ]


_KNOWN = {
    "memory.grow": (FuncType((I32,), (I32,)), _program("memory.size", 0, "memory.grow", 1)),
    "table.grow": (FuncType((FUNCREF, I32), (I32,)), _program("table.size", 1, "table.grow", 2)),
}
_GROWN = {"memory.grow": Kind.MEMORY, "table.grow": Kind.TABLE}
#: More than any of them takes.
_MOST_BYTES = 64


def find_bounded_growth(view: ModuleView, index: int) -> BoundedGrowth | None:
    """What the function at `index` of a remainder grows, if that is all it does and the blob has such a maximum.

    Where it has none, such a function is its own, and a call of it is a call.
    """
    if view.role != Role.REMAINDER or index < len(view.imports[Kind.FUNCTION]):
        return None
    start, code, end = view.span(index)
    if code != start + 1 or end - code > _MOST_BYTES:
        return None
    type_ = view.module.function_type(view.module.function_types[index])
    found = [(row.name, values) for row, values, _ in view.instructions(index)]
    for grow, (wanted_type, program) in _KNOWN.items():
        if type_ == wanted_type and len(found) == len(program):
            pairs = list(zip(found, program, strict=True))
            if all(
                name == wanted and immediates in (values, _UNKNOWN) for (name, values), (wanted, immediates) in pairs
            ):
                maximum = next(values[0] for name, values in found if name == "i64.const")
                return BoundedGrowth(grow, maximum) if view.blob_maximum.get(_GROWN[grow]) == maximum else None
    return None
