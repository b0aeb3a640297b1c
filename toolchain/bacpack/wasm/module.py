"""Reading a module: its sections as they stand, and each section's records when they are asked for.

Source: WebAssembly Core Specification 3.0, "Binary Format / Modules". Code is not decoded: a body is a range of bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from bacpack.wasm import limits
from bacpack.wasm.errors import WasmError
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import (
    FUNCREF,
    SECTION_ORDER,
    Body,
    Data,
    DefinedType,
    Element,
    Export,
    FuncType,
    Global,
    GlobalType,
    Import,
    Kind,
    Limits,
    Mode,
    Section,
    SectionId,
    Table,
    TableType,
)

MAGIC = b"\0asm"
CORE_VERSION = b"\1\0\0\0"
COMPONENT_LAYER = b"\1\0"

T = TypeVar("T")


class Module:
    """A core module. `data` is never changed; sections that nobody asks for are never decoded."""

    def __init__(self, data: bytes, sections: list[Section]) -> None:
        self.data = data
        #: All sections in the order of the file, custom ones included.
        self.sections = sections
        self._by_id = {section.id: section for section in sections if section.id != SectionId.CUSTOM}

    @classmethod
    def parse(cls, data: bytes) -> Module:
        """Find the sections of `data`; raises `WasmError` when it is no core module or its sections do not add up."""
        return cls(data, list(_read_sections(data)))

    def section(self, section_id: SectionId) -> Section | None:
        """Return the section with this number, if the module has it."""
        return self._by_id.get(section_id)

    def custom_sections(self, name: str) -> list[Section]:
        """Return the custom sections called `name`."""
        return [section for section in self.sections if section.id == SectionId.CUSTOM and section.name == name]

    @cached_property
    def types(self) -> list[DefinedType]:
        """The type section, recursion groups laid flat: position is type index."""
        types: list[DefinedType] = []

        def read(reader: Reader) -> None:
            for _ in range(reader.count("types", limits.MAX_TYPES)):
                types.extend(_read_recursive_type(reader))

        self._read_all(SectionId.TYPE, read)
        return types

    @cached_property
    def imports(self) -> list[Import]:
        """The imports, in order."""
        return self._vector(SectionId.IMPORT, "imports", limits.MAX_IMPORTS, _read_import)

    @property
    def import_namespaces(self) -> list[str]:
        """Each namespace that is imported from, in the order of its first import."""
        return list(dict.fromkeys(entry.module for entry in self.imports))

    @cached_property
    def functions(self) -> list[int]:
        """The type index of each function the module defines."""
        found: list[int] = []

        def read(reader: Reader) -> None:
            found.extend(reader.numbers(reader.count("functions", limits.MAX_FUNCTIONS), "a type index"))

        self._read_all(SectionId.FUNCTION, read)
        return found

    @cached_property
    def tables(self) -> list[Table]:
        """The tables the module defines."""
        return self._vector(SectionId.TABLE, "tables", limits.MAX_TABLES, _read_table)

    @cached_property
    def memories(self) -> list[Limits]:
        """The memories the module defines."""
        return self._vector(SectionId.MEMORY, "memories", limits.MAX_MEMORIES, _read_limits)

    @cached_property
    def tags(self) -> list[int]:
        """The type index of each exception tag the module defines."""
        return self._vector(SectionId.TAG, "tags", limits.MAX_TAGS, _read_tag)

    @cached_property
    def globals(self) -> list[Global]:
        """The globals the module defines."""
        return self._vector(SectionId.GLOBAL, "globals", limits.MAX_GLOBALS, _read_global)

    @cached_property
    def exports(self) -> list[Export]:
        """The exports, in order."""
        return self._vector(SectionId.EXPORT, "exports", limits.MAX_EXPORTS, _read_export)

    @cached_property
    def start(self) -> int | None:
        """The index of the start function."""
        found: list[int] = []
        self._read_all(SectionId.START, lambda reader: found.append(reader.u32("the start function")))
        return found[0] if found else None

    @cached_property
    def elements(self) -> list[Element]:
        """The element segments."""
        return self._vector(SectionId.ELEMENT, "element segments", limits.MAX_ELEMENT_SEGMENTS, _read_element)

    @cached_property
    def bodies(self) -> list[Body]:
        """The code of each function the module defines, in the order of `functions`."""
        bodies = self._vector(SectionId.CODE, "function bodies", limits.MAX_FUNCTIONS, _read_body)
        if len(bodies) != len(self.functions):
            section = self.section(SectionId.CODE)
            message = f"{len(self.functions)} functions are declared and {len(bodies)} defined"
            raise WasmError("wasm-malformed", message, section.start if section else len(self.data))
        return bodies

    @cached_property
    def data_segments(self) -> list[Data]:
        """The data segments."""
        return self._vector(SectionId.DATA, "data segments", limits.MAX_DATA_SEGMENTS, _read_data)

    def imported(self, kind: Kind) -> list[Import]:
        """The imports of one kind, in order: position is index."""
        return [entry for entry in self.imports if entry.kind == kind]

    @cached_property
    def function_types(self) -> list[int]:
        """The type index of every function, imported ones first: position is function index."""
        imported = [entry.type for entry in self.imported(Kind.FUNCTION)]
        return [index for index in imported if isinstance(index, int)] + self.functions

    def function_type(self, type_index: int) -> FuncType:
        """The function type at `type_index`; raises `WasmError` when there is none."""
        entry = self.types[type_index] if type_index < len(self.types) else None
        if entry is None or entry.function is None:
            raise WasmError("wasm-malformed", f"type {type_index} is no function type", 0)
        return entry.function

    def _vector(self, section_id: SectionId, what: str, maximum: int, read: Callable[[Reader], T]) -> list[T]:
        entries: list[T] = []

        def read_entries(reader: Reader) -> None:
            entries.extend(read(reader) for _ in range(reader.count(what, maximum)))

        self._read_all(section_id, read_entries)
        return entries

    def _read_all(self, section_id: SectionId, read: Callable[[Reader], None]) -> None:
        section = self._by_id.get(section_id)
        if section is None:
            return
        reader = Reader(self.data, section.content, section.end)
        read(reader)
        if reader.remaining:
            raise reader.fail(f"{reader.remaining} bytes too many in section {section_id.name.lower()}")


def _read_sections(data: bytes) -> list[Section]:
    reader = Reader(data)
    if len(data) > limits.MAX_MODULE_BYTES:
        raise reader.fail(f"the module has {len(data)} bytes, more than the limit", "wasm-too-large")
    if data[:4] != MAGIC:
        raise WasmError("not-wasm", "this is no WebAssembly module", 0, hint="give the binary form, not text (.wat)")
    if data[4:8] != CORE_VERSION:
        if data[6:8] == COMPONENT_LAYER:
            message = "this is a component, not a core module"
            hint = "take it apart with `wasm-tools component unbundle` and give its core modules"
            raise WasmError("wasm-component", message, 4, hint=hint)
        raise WasmError("wasm-version", f"unknown version {data[4:8].hex()}", 4, hint="version 1 is supported")
    reader.position = 8
    sections: list[Section] = []
    last = -1
    while reader.remaining:
        start = reader.position
        section_id = reader.byte()
        if section_id > max(SectionId):
            raise reader.fail(f"unknown section {section_id}")
        size = reader.u32("a section's size")
        content = reader.skip(size, f"section {SectionId(section_id).name.lower()}")
        end = reader.position
        name = None
        if section_id == SectionId.CUSTOM:
            name = Reader(data, content, end).name("a custom section's name")
        else:
            rank = SECTION_ORDER.index(SectionId(section_id))
            if rank <= last:
                raise WasmError(
                    "wasm-malformed", f"section {SectionId(section_id).name.lower()} is out of order", start
                )
            last = rank
        sections.append(Section(section_id, start, content, end, name))
    return sections


def _read_recursive_type(reader: Reader) -> list[DefinedType]:
    if reader.remaining and reader.data[reader.position] == 0x4E:
        reader.byte()
        size = reader.count("types in a group", limits.MAX_TYPES)
        group = [_read_sub_type(reader) for _ in range(size)]
        if size != 1:
            return [DefinedType(entry.function, alone=False) for entry in group]
        return group
    return [_read_sub_type(reader)]


def _read_sub_type(reader: Reader) -> DefinedType:
    code = reader.byte()
    alone = True
    if code in (0x4F, 0x50):
        supertypes = reader.count("supertypes", 1)
        for _ in range(supertypes):
            reader.u32("a supertype")
        alone = code == 0x4F and not supertypes
        code = reader.byte()
    if code == 0x60:
        params = tuple(reader.value_type() for _ in range(reader.count("parameters", limits.MAX_PARAMETERS)))
        results = tuple(reader.value_type() for _ in range(reader.count("results", limits.MAX_RESULTS)))
        return DefinedType(FuncType(params, results), alone)
    if code == 0x5F:
        for _ in range(reader.count("fields", limits.MAX_STRUCT_FIELDS, item_bytes=2)):
            _read_field_type(reader)
    elif code == 0x5E:
        _read_field_type(reader)
    else:
        raise reader.fail(f"unknown type 0x{code:02x}")
    return DefinedType(None, alone)


def _read_field_type(reader: Reader) -> None:
    if reader.remaining and reader.data[reader.position] in (0x77, 0x78):  # packed i16 and i8
        reader.byte()
    else:
        reader.value_type()
    _read_flag(reader, "mutability")


def _read_flag(reader: Reader, what: str) -> bool:
    value = reader.byte()
    if value > 1:
        raise reader.fail(f"{what} is 0x{value:02x}, neither 0 nor 1")
    return value == 1


def _read_limits(reader: Reader) -> Limits:
    flags = reader.byte()
    if flags > 7:
        raise reader.fail(f"unknown limits 0x{flags:02x}")
    read = reader.u64 if flags & 4 else reader.u32
    minimum = read("a minimum")
    maximum = read("a maximum") if flags & 1 else None
    return Limits(minimum, maximum, shared=bool(flags & 2), is_64=bool(flags & 4))


def _read_table_type(reader: Reader) -> TableType:
    return TableType(reader.value_type(), _read_limits(reader))


def _read_table(reader: Reader) -> Table:
    if reader.remaining and reader.data[reader.position] == 0x40:
        reader.byte()
        if reader.byte():
            raise reader.fail("unknown form of table")
        return Table(_read_table_type(reader), reader.constant_expression())
    return Table(_read_table_type(reader))


def _read_global_type(reader: Reader) -> GlobalType:
    return GlobalType(reader.value_type(), _read_flag(reader, "mutability"))


def _read_global(reader: Reader) -> Global:
    return Global(_read_global_type(reader), reader.constant_expression())


def _read_tag(reader: Reader) -> int:
    if reader.byte():
        raise reader.fail("unknown form of tag")
    return reader.u32("a type index")


def _read_kind(reader: Reader) -> Kind:
    code = reader.byte()
    if code > max(Kind):
        raise reader.fail(f"unknown kind 0x{code:02x} of import or export")
    return Kind(code)


def _read_import(reader: Reader) -> Import:
    module, name, kind = reader.name("an import's module"), reader.name("an import's name"), _read_kind(reader)
    if kind == Kind.FUNCTION:
        return Import(module, name, kind, reader.u32("a type index"))
    if kind == Kind.TABLE:
        return Import(module, name, kind, _read_table_type(reader))
    if kind == Kind.MEMORY:
        return Import(module, name, kind, _read_limits(reader))
    if kind == Kind.GLOBAL:
        return Import(module, name, kind, _read_global_type(reader))
    return Import(module, name, kind, _read_tag(reader))


def _read_export(reader: Reader) -> Export:
    return Export(reader.name("an export's name"), _read_kind(reader), reader.u32("an index"))


def _read_element(reader: Reader) -> Element:
    flags = reader.u32("an element segment's form")
    if flags > 7:
        raise reader.fail(f"unknown form {flags} of element segment")
    table, offset = 0, None
    mode = Mode.ACTIVE
    if flags & 1:
        mode = Mode.DECLARATIVE if flags & 2 else Mode.PASSIVE
    else:
        table = reader.u32("a table index") if flags & 2 else 0
        offset = reader.constant_expression()
    type_ = FUNCREF
    if flags & 3:
        if flags & 4:
            type_ = reader.value_type()
        elif reader.byte():
            raise reader.fail("unknown kind of elements")
    count = reader.count("elements", limits.MAX_TABLE_ENTRIES)
    if flags & 4:
        each: dict[bytes, bytes] = {}  # kept once: millions may be equal
        expressions = (reader.constant_expression() for _ in range(count))
        return Element(mode, table, offset, type_, None, [each.setdefault(one, one) for one in expressions])
    return Element(mode, table, offset, type_, reader.numbers(count, "a function index"), None)


def _read_body(reader: Reader) -> Body:
    size = reader.count("bytes in a function", limits.MAX_FUNCTION_BYTES)
    start = reader.skip(size, "a function")
    if not size or reader.data[start + size - 1] != 0x0B:
        raise reader.fail("a function does not end with `end`")
    return Body(start, start + size)


def _read_data(reader: Reader) -> Data:
    flags = reader.u32("a data segment's form")
    if flags > 2:
        raise reader.fail(f"unknown form {flags} of data segment")
    memory = reader.u32("a memory index") if flags == 2 else 0
    offset = None if flags == 1 else reader.constant_expression()
    size = reader.count("bytes in a data segment", limits.MAX_MODULE_BYTES)
    start = reader.skip(size, "a data segment")
    return Data(Mode.PASSIVE if flags == 1 else Mode.ACTIVE, memory, offset, start, start + size)
