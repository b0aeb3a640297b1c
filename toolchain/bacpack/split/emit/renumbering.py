"""The index spaces of a remainder: what the blob imports, what bacpack imports, what the remainder defines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bacpack.split.emit import start_function
from bacpack.split.shapes.fingerprint import Blob
from bacpack.split.shapes.table_entries import has_program_table
from bacpack.wasm import Export, FuncType, Import, Kind, Module, SectionId, writer
from bacpack.wasm import scanner as scan
from bacpack.wasm.instructions import op
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_unsigned
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import FUNCREF, I32

_GROW_MEMORY_TYPE = FuncType((I32,), (I32,))
_GROW_TABLE_TYPE = FuncType((FUNCREF, I32), (I32,))


class Types:
    """The blob's own types, and those that the remainder adds after them."""

    def __init__(self, module: Module) -> None:
        self._module = module
        known = reversed(list(enumerate(module.types)))
        self._numbers = {type_.function: number for number, type_ in known if type_.function and type_.alone}
        self._added: list[FuncType] = []

    def __getitem__(self, type_: FuncType) -> int:
        if type_ not in self._numbers:
            self._numbers[type_] = len(self._module.types) + len(self._added)
            self._added.append(type_)
        return self._numbers[type_]

    def section(self) -> bytes:
        """The content of the type section."""
        return extended(self._module, SectionId.TYPE, map(writer.func_type, self._added))


class Numbers:
    """Every index space of a remainder: what the blob imports, what bacpack imports, what the remainder defines."""

    def __init__(self, blob: Blob, registers: Sequence[int]) -> None:
        """`registers` are the indices of the globals that live in the environment, in the order of their imports."""
        self._module = module = blob.module
        self.types = Types(module)
        self.has_table = has_program_table(module)
        self.has_memory = bool(module.memories) and not module.imported(Kind.MEMORY)
        self._next_function = len(module.imported(Kind.FUNCTION))
        self._imported_tables = self._next_table = len(module.imported(Kind.TABLE))
        imported_globals = len(module.imported(Kind.GLOBAL))
        defined = range(imported_globals, imported_globals + len(module.globals))
        own = [index for index in defined if index not in registers]
        self._globals = {index: number for number, index in enumerate([*range(imported_globals), *registers, *own])}
        self._functions = {index: index for index in range(self._next_function)}
        self._referenced_hosts: dict[int, int] = {}
        self._forwarded: dict[int, int] = {}
        self._shared: dict[int, tuple[int, int]] = {}
        #: Imports that bacpack adds.
        self.imports: list[Import] = []
        #: Functions whose reference code takes: a module must declare them outside of code.
        self.declared: set[int] = set()
        #: Functions that bacpack adds, type and code, in the order of their numbers.
        self.added: list[tuple[int, bytes]] = []

    def add_import(self, entry: Import) -> int:
        """Add an import; return its number among functions or tables."""
        self.imports.append(entry)
        if entry.kind == Kind.FUNCTION:
            self._next_function += 1
            return self._next_function - 1
        if entry.kind == Kind.TABLE:
            self._next_table += 1
            return self._next_table - 1
        return 0

    def import_function(self, namespace: str, name: str, type_: FuncType) -> int:
        """Import a function of a shared module."""
        return self.add_import(Import(namespace, name, Kind.FUNCTION, self.types[type_]))

    def provide(self, index: int, table: int, entry: int) -> None:
        """Say in which imported table a function of the blob stands."""
        self._shared[index] = table, entry

    def define(self, index: int) -> None:
        """Give a function that stays its number. All imports must have been added."""
        self._functions[index] = self._next_function
        self._next_function += 1

    def add_function(self, type_index: int, code: bytes) -> int:
        """Add a function of bacpack's own; return its number. All functions that stay must have been defined."""
        self.added.append((type_index, code))
        self._next_function += 1
        return self._next_function - 1

    def forward_host(self, index: int) -> None:
        """Add a function that calls a host function and stands for it where its reference is taken."""
        self._referenced_hosts[index] = self._forward(index)

    def forward(self, index: int) -> None:
        """Add a function that calls a shared one and stands for it where it is exported or referred to."""
        self._forwarded[index] = self._forward(index)

    def _forward(self, index: int) -> int:
        type_index = self._module.function_types[index]
        parameters = len(self._module.function_type(type_index).params)
        return self.add_function(type_index, start_function.forward(self.call(scan.CALL, index), parameters))

    def call(self, opcode: int, index: int) -> bytes:
        """A call of a function: direct, or through the table of the module where it is now."""
        if index not in self._shared:
            return bytes([opcode]) + encode_unsigned(self._functions[index])
        table, entry = self._shared[index]
        indirect = scan.CALL_INDIRECT if opcode == scan.CALL else scan.RETURN_CALL_INDIRECT
        type_index = self._module.function_types[index]
        return writer.i32_const(entry) + bytes([indirect]) + encode_unsigned(type_index) + encode_unsigned(table)

    def function(self, index: int) -> int:
        """The number of a function that the remainder imports or defines."""
        return self._forwarded[index] if index in self._forwarded else self._functions[index]

    def reference(self, index: int) -> int:
        """The number of a function whose reference is taken."""
        return self._referenced_hosts[index] if index in self._referenced_hosts else self.function(index)

    def export(self, entry: Export) -> Export:
        """An export of the blob with its new number."""
        if entry.kind == Kind.FUNCTION:
            return replace(entry, index=self.function(entry.index))
        if entry.kind == Kind.TABLE:
            return replace(entry, index=self.table(entry.index))
        return replace(entry, index=self.global_(entry.index)) if entry.kind == Kind.GLOBAL else entry

    def table(self, index: int) -> int:
        """The number of a table: the program's is imported from the environment, before private tables."""
        if self.has_table:
            return 0 if index == 0 else index + self._next_table - 1
        return index if index < self._imported_tables else index - self._imported_tables + self._next_table

    def global_(self, index: int) -> int:
        """The number of a global: those in registers are imported, the rest follow in order."""
        return self._globals.get(index, index)

    def grow_memory(self) -> bytes:
        """`memory.grow`, through a function that knows the maximum where the blob declares one."""
        maximum = self._module.memories[0].maximum if self.has_memory else None
        if maximum is None:
            return op("memory.grow", 0)
        return op("call", self._helper(_GROW_MEMORY_TYPE, start_function.bounded_grow_memory(maximum)))

    def grow_table(self) -> bytes:
        """`table.grow` of table 0, likewise."""
        maximum = self._module.tables[0].type.limits.maximum if self.has_table else None
        if maximum is None:
            return op("table.grow", self.table(0))
        return op("call", self._helper(_GROW_TABLE_TYPE, start_function.bounded_grow_table(maximum)))

    def _helper(self, type_: FuncType, code: bytes) -> int:
        return self.add_function(self.types[type_], code)


class Instructions(dict[bytes, bytes]):
    """What becomes of each open instruction of a remainder's own code, worked out once for equal bytes."""

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, instruction: bytes) -> bytes:
        rewritten = self[instruction] = self._rewrite(instruction)
        return rewritten

    def _rewrite(self, instruction: bytes) -> bytes:
        opcode, numbers = instruction[0], self._numbers
        if opcode == scan.I32_CONST:
            return writer.i32_const(decode_signed(instruction, 1)[0])
        if opcode == scan.I64_CONST:
            return writer.i64_const(decode_signed(instruction, 1)[0])
        if opcode in (scan.CALL, scan.RETURN_CALL):
            return numbers.call(opcode, decode_unsigned(instruction, 1)[0])
        if opcode == scan.REF_FUNC:
            index = numbers.reference(decode_unsigned(instruction, 1)[0])
            numbers.declared.add(index)
            return bytes([opcode]) + encode_unsigned(index)
        if opcode in (scan.GLOBAL_GET, scan.GLOBAL_SET):
            return bytes([opcode]) + encode_unsigned(numbers.global_(decode_unsigned(instruction, 1)[0]))
        if opcode in (scan.CALL_INDIRECT, scan.RETURN_CALL_INDIRECT):
            type_index, position = decode_unsigned(instruction, 1)
            table, _ = decode_unsigned(instruction, position)
            return bytes([opcode]) + encode_unsigned(type_index) + encode_unsigned(numbers.table(table))
        if opcode == scan.MEMORY_GROW:
            return instruction if decode_unsigned(instruction, 1)[0] else numbers.grow_memory()
        if opcode in (0x25, 0x26) or (opcode == 0xFC and instruction[1] >= 0x0C and instruction[1] != 0x0D):
            return self._table_instruction(instruction)
        return instruction  # types, tags and segments keep their numbers, and so do memories

    def _table_instruction(self, instruction: bytes) -> bytes:
        numbers = self._numbers
        row, values = Reader(instruction).instruction()
        if row.name == "table.grow" and values[0] == 0:
            return numbers.grow_table()
        kinds = zip(row.immediates, values, strict=True)
        return row.encoding + b"".join(
            encode_unsigned(numbers.table(value) if kind == "table" else value) for kind, value in kinds
        )


def extended(module: Module, section_id: SectionId, added: Iterable[bytes]) -> bytes:
    """The content of a section that is a vector, with entries added after the old ones, whose bytes are kept."""
    entries = list(added)
    section = module.section(section_id)
    if section is None:
        return writer.vector(entries)
    count, first = decode_unsigned(module.data, section.content)
    return encode_unsigned(count + len(entries)) + module.data[first : section.end] + b"".join(entries)
