"""Custom sections that tools know: what a toolchain called the module and its functions, and what it was made with.

Sources: WebAssembly Core Specification 3.0, appendix "Custom Sections and Annotations / Name Section", and
ProducersSection.md of the tool conventions: there is one such section, after the name section. Both are advice: one
that is malformed is taken for absent, as engines do.
"""

from __future__ import annotations

from bacpack.wasm import writer
from bacpack.wasm.errors import WasmError
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.limits import MAX_FUNCTIONS
from bacpack.wasm.module import Module
from bacpack.wasm.reader import Reader

NAME_SECTION = "name"
_MODULE_NAME, _FUNCTION_NAMES = 0, 1


def read_names(module: Module) -> tuple[str | None, dict[int, str]]:
    """Return the module's name, and the names of its functions by index."""
    module_name: str | None = None
    functions: dict[int, str] = {}
    for section in module.custom_sections(NAME_SECTION):
        reader = Reader(module.data, section.content, section.end)
        try:
            reader.name("the section's name")
            while reader.remaining:
                kind = reader.byte()
                size = reader.count("bytes of names", reader.remaining)
                part = Reader(module.data, reader.skip(size, "names"), reader.position)
                if kind == _MODULE_NAME:
                    module_name = part.name("the module's name")
                elif kind == _FUNCTION_NAMES:
                    for _ in range(part.count("function names", MAX_FUNCTIONS, item_bytes=2)):
                        index = part.u32("a function index")
                        functions[index] = part.name("a function's name")
        except WasmError:
            return None, {}
    return module_name, functions


def name_section(module_name: str | None, functions: dict[int, str]) -> bytes:
    """Return a name section with its header."""
    content = b""
    if module_name is not None:
        content += bytes([_MODULE_NAME]) + writer.sized(writer.name(module_name))
    if functions:
        entries = (encode_unsigned(index) + writer.name(name) for index, name in sorted(functions.items()))
        content += bytes([_FUNCTION_NAMES]) + writer.sized(writer.vector(entries))
    return writer.custom_section(NAME_SECTION, content)


PRODUCERS_SECTION = "producers"

#: By field (`language`, `processed-by`, `sdk`), names and versions in their order.
Producers = dict[str, dict[str, str]]

_MAX_ENTRIES = 1000


def read_producers(module: Module) -> Producers:
    """Return what the module's producers section says; nothing if there is none or it is malformed."""
    fields: Producers = {}
    for section in module.custom_sections(PRODUCERS_SECTION):
        reader = Reader(module.data, section.content, section.end)
        try:
            reader.name("the section's name")
            for _ in range(reader.count("fields", _MAX_ENTRIES, item_bytes=2)):
                values = fields.setdefault(reader.name("a field's name"), {})
                for _ in range(reader.count("values", _MAX_ENTRIES, item_bytes=2)):
                    value = reader.name("a value's name")
                    values[value] = reader.name("a value's version")
        except WasmError:
            return {}
        if reader.remaining:
            return {}
    return fields


def producers_section(fields: Producers) -> bytes:
    """Return a producers section with its header."""
    encoded = []
    for field, values in fields.items():
        entries = (writer.name(value) + writer.name(version) for value, version in values.items())
        encoded.append(writer.name(field) + writer.vector(entries))
    return writer.custom_section(PRODUCERS_SECTION, writer.vector(encoded))


def processed_by(module: Module, tool: str, version: str) -> bytes:
    """Return the module's producers section, with its header, extended by a tool that has processed it."""
    fields = read_producers(module)
    fields.setdefault("processed-by", {})[tool] = version
    return producers_section(fields)
