"""Whether engines accept a module as for its size: a split adds to what a blob has, and that may be at a limit."""

from __future__ import annotations

from collections.abc import Iterator

from bacpack.wasm import Kind, Module, SectionId, WasmError, limits
from bacpack.wasm.leb128 import decode_unsigned

_MOST = {
    SectionId.TYPE: limits.MAX_TYPES,
    SectionId.FUNCTION: limits.MAX_FUNCTIONS,
    SectionId.TABLE: limits.MAX_TABLES,
    SectionId.GLOBAL: limits.MAX_GLOBALS,
    SectionId.ELEMENT: limits.MAX_ELEMENT_SEGMENTS,
    SectionId.DATA: limits.MAX_DATA_SEGMENTS,
}
_IMPORTED = {SectionId.FUNCTION: Kind.FUNCTION, SectionId.TABLE: Kind.TABLE, SectionId.GLOBAL: Kind.GLOBAL}


def is_within_limits(data: bytes) -> bool:
    """Whether a module that bacpack wrote has no more of anything than engines accept."""
    module = Module.parse(data)
    for section_id, most in _MOST.items():
        section = module.section(section_id)
        count = decode_unsigned(data, section.content)[0] if section else 0
        if section_id in _IMPORTED:
            count += len(module.imported(_IMPORTED[section_id]))
        if count > most:
            return False
    code = module.section(SectionId.CODE)
    if code and code.end - code.content > limits.MAX_FUNCTION_BYTES:
        try:
            module.bodies  # noqa: B018  # reading them looks at their sizes
        except WasmError:
            return False
    entries = len(module.imports) + len(module.exports)
    largest = 1 + limits.MAX_PARAMETERS + limits.MAX_RESULTS
    return entries * largest < limits.MAX_INTERFACE_SIZE or 1 + sum(_sizes(module)) < limits.MAX_INTERFACE_SIZE


def _sizes(module: Module) -> Iterator[int]:
    """What each import and export counts: see `limits`."""
    functions = [entry.type for entry in module.imports if entry.kind == Kind.FUNCTION]
    functions += [module.function_types[entry.index] for entry in module.exports if entry.kind == Kind.FUNCTION]
    yield len(module.imports) + len(module.exports)
    for index in functions:
        if isinstance(index, int):
            type_ = module.function_type(index)
            yield len(type_.params) + len(type_.results)
