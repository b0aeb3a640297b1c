"""The producers section: which languages, tools and libraries a module was made with.

Source: tool-conventions, ProducersSection.md: there is one such section, after the name section. It is advice: one that
is malformed is taken for absent.
"""

from __future__ import annotations

from bacpack.wasm import writer
from bacpack.wasm.errors import WasmError
from bacpack.wasm.module import Module
from bacpack.wasm.reader import Reader

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
