"""Components, as far as their core modules can be exchanged: sections, core instances, aliases of core exports.

Source: component-model repository, "design/mvp/Binary.md". Everything else is kept as the bytes it is.
"""

from __future__ import annotations

from bacpack.wasm import limits
from bacpack.wasm.errors import WasmError
from bacpack.wasm.module import COMPONENT_LAYER, MAGIC
from bacpack.wasm.reader import Reader

COMPONENT_HEADER = MAGIC + b"\x0d\0" + COMPONENT_LAYER
CUSTOM, CORE_MODULE, CORE_INSTANCE, CORE_TYPE, ALIAS, IMPORT = 0, 1, 2, 3, 6, 10
LAST_SECTION = 12
INSTANTIATE, INLINE = 0, 1
#: Sorts: of core things the second byte, after `CORE`.
CORE, MODULE_SORT, INSTANCE_SORT = 0, 0x11, 0x12
OF_INSTANCE, OF_CORE_INSTANCE, OUTER = 0, 1, 2


class Component:
    """A component: its sections, and the core modules that it holds itself."""

    def __init__(self, data: bytes, sections: list[tuple[int, bytes]]) -> None:
        self.data = data
        #: The number and content of each.
        self.sections = sections

    @classmethod
    def parse(cls, data: bytes) -> Component:
        """Find the sections of `data`; raises `WasmError` when they do not add up."""
        reader = Reader(data, len(COMPONENT_HEADER))
        if data[: len(COMPONENT_HEADER)] != COMPONENT_HEADER:
            hint = "components of version 0x0d are supported"
            raise WasmError("wasm-version", f"unknown version {data[4:8].hex()} of a component", 4, hint=hint)
        sections = []
        while reader.remaining:
            section_id = reader.byte()
            if section_id > LAST_SECTION:
                raise reader.fail(f"unknown section {section_id} of a component")
            size = reader.u32("a section's size")
            sections.append((section_id, reader.take(size, "a section")))
        return cls(data, sections)

    @property
    def modules(self) -> list[bytes]:
        """The core modules that it holds, in order; not those of components within it."""
        return [content for section_id, content in self.sections if section_id == CORE_MODULE]

    @property
    def imported_modules(self) -> list[str]:
        """The names of the core modules that it imports by sections of their own, as what was split does."""
        contents = [content for section_id, content in self.sections if section_id == IMPORT]
        return [name for content in contents for name in module_imports(content)]


def module_imports(content: bytes) -> list[str]:
    """The names in an import section that imports core modules and nothing else; of any other section none."""
    reader = Reader(content)
    names = []
    for _ in range(reader.count("imports", limits.MAX_IMPORTS)):
        reader.byte()
        names.append(reader.name("an import's name"))
        if reader.byte() != CORE or reader.byte() != MODULE_SORT:
            return []
        reader.u32("a type")
    return names


def is_component(data: bytes) -> bool:
    """Whether these bytes begin as a component of the known version does."""
    return data[: len(COMPONENT_HEADER)] == COMPONENT_HEADER
