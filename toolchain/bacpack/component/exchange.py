"""Core modules of a component exchanged for others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bacpack.component.binary import (
    ALIAS,
    COMPONENT_HEADER,
    CORE,
    CORE_INSTANCE,
    CORE_MODULE,
    CORE_TYPE,
    CUSTOM,
    IMPORT,
    INLINE,
    INSTANCE_SORT,
    INSTANTIATE,
    MODULE_SORT,
    OF_CORE_INSTANCE,
    OF_INSTANCE,
    OUTER,
    Component,
)
from bacpack.wasm import limits, writer
from bacpack.wasm.errors import WasmError
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.module import Module
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Export, ExternType, Import, Kind


@dataclass(frozen=True, slots=True)
class Provider:
    """A core module that a component imports by name, for core modules that import from that namespace."""

    name: str
    module: Module


@dataclass(frozen=True, slots=True)
class Exchange:
    """What takes the place of a core module, and what it needs beside what it was given before, lowest first."""

    data: bytes
    providers: Sequence[Provider]


def exchange_modules(component: Component, exchanged: Mapping[int, Exchange]) -> bytes:
    """Return a component with some of its core modules, by position in `modules`, exchanged.

    What they need is imported as core modules, and instantiated anew wherever the exchanged module is. The only
    numbers that change are those of core instances. Raises `WasmError` (`wasm-unsupported`) when others would.
    """
    return COMPONENT_HEADER + b"".join(_Exchanger(component, exchanged).sections())


class _Exchanger:
    """Goes through the sections of a component once, and writes them again."""

    def __init__(self, component: Component, exchanged: Mapping[int, Exchange]) -> None:
        self._component = component
        self._exchanged = exchanged
        providers = [provider for entry in exchanged.values() for provider in entry.providers]
        self._providers = {provider.name: provider for provider in providers}
        #: How many core modules were written, and the number of each that is imported.
        self._held = 0
        self._imported: dict[str, int] = {}
        #: The new number of each core instance, by its old one; and how many there are now.
        self._instances: list[int] = []
        self._count = 0

    def sections(self) -> Iterator[bytes]:
        """All sections, written again."""
        for position, (section_id, content) in enumerate(self._component.sections):
            if section_id == CORE_MODULE:
                if not self._imported:
                    yield self._module(content)
            elif section_id == CORE_TYPE:
                raise _unsupported("it defines core types of its own")
            elif section_id == CORE_INSTANCE:
                if not self._imported:
                    # Modules need nothing, so the rest of them can come before those that are imported: all keep
                    # their numbers.
                    yield from (
                        self._module(data) for id_, data in self._component.sections[position:] if id_ == CORE_MODULE
                    )
                    yield from self._imports()
                yield _section(section_id, self._core_instances(content))
            elif section_id == ALIAS:
                yield _section(section_id, self._aliases(content))
            elif section_id == IMPORT:
                self._refuse_imported_modules(content)
                yield _section(section_id, content)
            elif section_id != CUSTOM or Reader(content).name("a custom section's name") != "component-name":
                # Those names go by number, and are for people only.
                yield _section(section_id, content)

    def _module(self, data: bytes) -> bytes:
        entry = self._exchanged.get(self._held)
        self._held += 1
        return _section(CORE_MODULE, entry.data if entry else data)

    def _imports(self) -> Iterator[bytes]:
        """The type of each core module that is needed, and its import: numbered after all that were there before."""
        types = [_module_type(provider.module) for provider in self._providers.values()]
        yield _section(CORE_TYPE, writer.vector(types))
        imports = []
        for number, name in enumerate(self._providers):
            self._imported[name] = self._held + number
            imports.append(b"\0" + writer.name(name) + bytes([CORE, MODULE_SORT]) + encode_unsigned(number))
        yield _section(IMPORT, writer.vector(imports))

    def _core_instances(self, content: bytes) -> bytes:
        reader = Reader(content)
        written: list[bytes] = []
        for _ in range(reader.count("core instances", limits.MAX_FUNCTIONS)):
            form = reader.byte()
            if form == INSTANTIATE:
                number = reader.u32("a core module")
                arguments = [self._argument(reader) for _ in range(reader.count("arguments", limits.MAX_IMPORTS))]
                if (entry := self._exchanged.get(number)) is not None:
                    arguments += self._provide(entry, written)
                body = encode_unsigned(number) + writer.vector(arguments)
            elif form == INLINE:
                body = writer.vector([self._export(reader) for _ in range(reader.count("exports", limits.MAX_EXPORTS))])
            else:
                raise reader.fail(f"unknown form {form} of core instance")
            self._instances.append(self._add_instance(bytes([form]) + body, written))
        return writer.vector(written)

    def _add_instance(self, instance: bytes, written: list[bytes]) -> int:
        written.append(instance)
        self._count += 1
        return self._count - 1

    def _provide(self, entry: Exchange, written: list[bytes]) -> list[bytes]:
        """Instantiate what an exchanged module needs; return the arguments that hand it over."""
        made: dict[str, bytes] = {}
        for provider in entry.providers:
            needed = provider.module.import_namespaces
            body = encode_unsigned(self._imported[provider.name]) + writer.vector([made[name] for name in needed])
            made[provider.name] = _argument(provider.name, self._add_instance(b"\0" + body, written))
        wanted = set(Module.parse(entry.data).import_namespaces)
        return [argument for name, argument in made.items() if name in wanted]

    def _argument(self, reader: Reader) -> bytes:
        name = reader.name("an argument's name")
        if reader.byte() != INSTANCE_SORT:
            raise reader.fail("a core module is given something other than a core instance")
        return _argument(name, self._instance(reader))

    def _export(self, reader: Reader) -> bytes:
        head = writer.name(reader.name("an export's name"))
        sort = reader.byte()
        number = self._instance(reader) if sort == INSTANCE_SORT else reader.u32("an index")
        return head + bytes([sort]) + encode_unsigned(number)

    def _aliases(self, content: bytes) -> bytes:
        reader = Reader(content)
        aliases = []
        for _ in range(reader.count("aliases", limits.MAX_FUNCTIONS)):
            sort = bytes([reader.byte()])
            if sort[0] == CORE:
                sort += bytes([reader.byte()])
            target = reader.byte()
            if sort == bytes([CORE, MODULE_SORT]) and target != OF_CORE_INSTANCE:
                raise _unsupported("it takes a core module from elsewhere")
            if target == OF_CORE_INSTANCE:
                rest = encode_unsigned(self._instance(reader)) + writer.name(reader.name("an export's name"))
            elif target == OF_INSTANCE:
                rest = encode_unsigned(reader.u32("an instance")) + writer.name(reader.name("an export's name"))
            elif target == OUTER:
                rest = encode_unsigned(reader.u32("a level")) + encode_unsigned(reader.u32("an index"))
            else:
                raise reader.fail(f"unknown form {target} of alias")
            aliases.append(sort + bytes([target]) + rest)
        return writer.vector(aliases)

    def _instance(self, reader: Reader) -> int:
        old = reader.u32("a core instance")
        if old >= len(self._instances):
            raise reader.fail(f"core instance {old} does not exist")
        return self._instances[old]

    def _refuse_imported_modules(self, content: bytes) -> None:
        reader = Reader(content)
        for _ in range(reader.count("imports", limits.MAX_IMPORTS)):
            if reader.byte() > 1:
                raise _unsupported("an import has attributes")
            reader.name("an import's name")
            sort = reader.byte()
            if sort == CORE:
                raise _unsupported("it imports a core module")
            if sort in (2, 3) and reader.byte() and sort == 2:
                raise _unsupported("it imports a value")
            if not (sort == 3 and reader.data[reader.position - 1] == 1):
                reader.u32("an index")


def _section(section_id: int, content: bytes) -> bytes:
    return bytes([section_id]) + writer.sized(content)


def _argument(name: str, instance: int) -> bytes:
    return writer.name(name) + bytes([INSTANCE_SORT]) + encode_unsigned(instance)


def _module_type(module: Module) -> bytes:
    """What a core module imports and exports, as the type by which a component imports it."""
    declarations: list[bytes] = []
    types: dict[int, int] = {}

    def described(entry: Import) -> bytes:
        if isinstance(entry.type, int) and entry.type not in types:
            types[entry.type] = len(types)
            declarations.append(b"\1" + writer.func_type(module.function_type(entry.type)))
        type_ = types[entry.type] if isinstance(entry.type, int) else entry.type
        return writer.import_(Import(entry.module, entry.name, entry.kind, type_))

    for entry in module.imports:
        declarations.append(b"\0" + described(entry))
    for exported in module.exports:
        # As an import without the namespace, which is an empty name: one byte.
        entry = Import("", exported.name, exported.kind, _type_of(module, exported))
        declarations.append(b"\3" + described(entry)[1:])
    return b"\x50" + writer.vector(declarations)


def _type_of(module: Module, exported: Export) -> ExternType:
    defined: dict[Kind, Sequence[ExternType]] = {
        Kind.FUNCTION: module.functions,
        Kind.TABLE: [table.type for table in module.tables],
        Kind.MEMORY: module.memories,
        Kind.GLOBAL: [entry.type for entry in module.globals],
        Kind.TAG: module.tags,
    }
    return [*(entry.type for entry in module.imported(exported.kind)), *defined[exported.kind]][exported.index]


def _unsupported(reason: str) -> WasmError:
    hint = "take its core modules out with `wasm-tools component unbundle`, and split those"
    return WasmError("wasm-unsupported", f"a component of this form is not split: {reason}", 0, hint=hint)
