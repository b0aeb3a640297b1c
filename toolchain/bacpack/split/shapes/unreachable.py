"""Functions that nothing reaches: no export, table, global or start function, nor any function that these reach.

A linker drops them, unless it was told not to. This is less than a linker does, who knows which constant is the place
of a function in the table: here all that stands in a table is reached. So it holds for every blob, and can be proved.
"""

from __future__ import annotations

from dataclasses import replace

from bacpack.split.shapes.fingerprint import Blob
from bacpack.split.shapes.table_entries import element_functions, referenced_functions
from bacpack.wasm import Kind, Module

_REASON = "nothing reaches it"


def drop_unreachable(blob: Blob) -> None:
    """Note the functions of `blob` that nothing reaches, and take their shapes, so that no module gets them."""
    first = blob.imported_functions
    reached: set[int] = set()
    pending = _roots(blob.module)
    while pending:
        index = pending.pop()
        if index >= first and index not in reached:
            reached.add(index)
            function = blob.functions[index - first]
            pending += function.calls
            pending += function.references
    for position, function in enumerate(blob.functions):
        if first + position not in reached:
            blob.unreachable.add(position)
            blob.functions[position] = replace(function, shape=None, reason=_REASON)


def _roots(module: Module) -> list[int]:
    """Functions that something other than code names, by index."""
    roots = [entry.index for entry in module.exports if entry.kind == Kind.FUNCTION]
    roots += [] if module.start is None else [module.start]
    for element in module.elements:
        roots += element_functions(element)
    expressions = [entry.init for entry in module.globals]
    expressions += [table.init for table in module.tables if table.init is not None]
    for expression in expressions:
        roots += referenced_functions(expression)
    return roots
