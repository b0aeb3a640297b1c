"""What element segments and constant expressions say: which functions they name, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from bacpack.wasm import Kind, Module
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_signed, decode_unsigned
from bacpack.wasm.types import FUNCREF, Element, Mode

_REF_FUNC = bytes([scan.REF_FUNC])


def has_program_table(module: Module) -> bool:
    """Whether table 0 can live in the environment: defined here, of any functions, with 32-bit indices."""
    if module.imported(Kind.TABLE) or not module.tables:
        return False
    type_ = module.tables[0].type
    return type_.element == FUNCREF and not type_.limits.is_64 and not type_.limits.shared


def is_placeable(module: Module, element: Element) -> bool:
    """Whether the segment certainly fits the program's table, and names functions as entries only."""
    if element.mode != Mode.ACTIVE or element.table or not has_program_table(module):
        return False
    if any(
        referenced_function(entry) is None and [*referenced_functions(entry)] for entry in element.expressions or ()
    ):
        return False  # a function is only part of an entry
    start = constant_offset(element.offset)
    return start is not None and start + len(element) <= module.tables[0].type.limits.minimum


def is_table_plain(module: Module) -> bool:
    """Whether shared modules may fill parts of the program's table, in any order: no segment lies over another."""
    segments = [element for element in module.elements if element.mode == Mode.ACTIVE and not element.table]
    if not has_program_table(module) or not all(is_placeable(module, element) for element in segments):
        return False
    starts = [(constant_offset(element.offset) or 0, len(element)) for element in segments]
    return all(start + size <= following for (start, size), (following, _) in pairwise(sorted(starts)))


def table_entries(module: Module) -> Iterator[tuple[int, int]]:
    """Where functions stand in the program's table, as (index, function), if it is plain."""
    if not is_table_plain(module):
        return
    for element in module.elements:
        if element.mode == Mode.ACTIVE and not element.table:
            for index, function in segment_entries(element):
                if function is not None:
                    yield index, function


def segment_entries(element: Element) -> Iterator[tuple[int, int | None]]:
    """The entries of a segment that goes to a constant place: index in the table, and the function if it is one."""
    start = constant_offset(element.offset)
    assert start is not None
    entries: Iterable[int | None] = element.functions or ()
    if element.expressions is not None:
        entries = map(referenced_function, element.expressions)
    yield from enumerate(entries, start)


def element_functions(element: Element) -> Iterator[int]:
    """The indices of the functions in a segment."""
    yield from element.functions or ()
    for expression in element.expressions or ():
        yield from referenced_functions(expression)


def referenced_functions(expression: bytes) -> Iterator[int]:
    """All functions that a constant expression refers to."""
    if _REF_FUNC in expression:
        for instruction in scan.instructions(expression):
            if instruction[0] == scan.REF_FUNC:
                yield decode_unsigned(instruction, 1)[0]


def referenced_function(expression: bytes) -> int | None:
    """The function that a constant expression refers to, when it is `ref.func` alone."""
    if not expression.startswith(_REF_FUNC):
        return None
    index, end = decode_unsigned(expression, 1)
    return index if end == len(expression) - 1 else None


def constant_offset(expression: bytes | None) -> int | None:
    """The value of a constant expression that is `i32.const` alone, unsigned."""
    if not expression or expression[0] != scan.I32_CONST:
        return None
    value, end = decode_signed(expression, 1)
    return value & 0xFFFF_FFFF if end == len(expression) - 1 else None
