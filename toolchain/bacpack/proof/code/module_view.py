"""A module as the proof sees it: its types by structure, its functions, and what they are called in messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TypeVar

from bacpack.content.cid.cid import is_cid
from bacpack.proof.code.tokenizer import instructions_start
from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, Module, SectionId, TableType, WasmError
from bacpack.wasm.custom_sections import read_names
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_unsigned
from bacpack.wasm.opcodes import BY_NUMBER, Opcode
from bacpack.wasm.reader import Reader

T = TypeVar("T")

#: One instruction: its row of the opcode table, its immediates that are numbers, its bytes.
Instruction = tuple[Opcode, list[int], bytes]
#: What is called: a function by its index, or ("late", table, entry) what an entry of a table holds.
Callee = int | tuple[str, int, int]


#: `local.get` of each parameter that has a number of one byte, in order.
_PARAMETERS = b"".join(bytes([0x20, number]) for number in range(128))
#: What the call starts with: `call`, or the `i32.const` of an entry.
_CALLS = b"\x10\x41"
#: The longest call through an entry of a table, with the end of the function.
_MOST_CALL_BYTES = 18


#: Instructions of which start functions have thousands, and how their one immediate is read.
_SIMPLE = {
    0x10: (BY_NUMBER[None, 0x10], decode_unsigned),  # call
    0x20: (BY_NUMBER[None, 0x20], decode_unsigned),  # local.get
    0x22: (BY_NUMBER[None, 0x22], decode_unsigned),  # local.tee
    0x24: (BY_NUMBER[None, 0x24], decode_unsigned),  # global.set
    0x41: (BY_NUMBER[None, 0x41], decode_signed),  # i32.const
    0x42: (BY_NUMBER[None, 0x42], decode_signed),  # i64.const
}


#: Of it they have as many. Larger numbers than the other say more than an alignment.
_I32_LOAD, _MOST_PLAIN = 0x28, 0x3F
#: Those without immediates, each made once: code may be nothing else.
_BARE: dict[int, Instruction] = {
    opcode: (row, [], row.encoding) for (prefix, opcode), row in BY_NUMBER.items() if not prefix and not row.immediates
}


class Role(Enum):
    """What a module is to the proof."""

    BLOB = "the blob"
    REMAINDER = "the remainder"
    SHARED = "module"


def at(space: Sequence[T], index: int, what: str | Kind) -> T:
    """The entry of an index space; raises `WasmError` when there is none."""
    if 0 <= index < len(space):
        return space[index]
    name = what.name.lower() if isinstance(what, Kind) else what
    raise WasmError("wasm-malformed", f"{name} {index} does not exist", 0)


@dataclass(eq=False)
class ModuleView:
    """A parsed module in its role. What depends on one program is not kept here, so programs can share a view."""

    module: Module
    role: Role
    #: The CID of a shared module.
    cid: str = ""
    #: Whether its types begin with those of the blob, so that these mean the same by their numbers.
    has_blob_types: bool = False
    #: How many types the blob has.
    blob_types: int = 0
    #: What the blob declares as the most that its first memory and its first table may become, by kind.
    blob_maximum: Mapping[Kind, int | None] = field(default_factory=dict)
    #: Namespaces of modules that the blob imports too, and that so count as the host.
    linked: Collection[str] = ()

    @classmethod
    def of_blob(cls, data: bytes) -> ModuleView:
        """The blob."""
        module = Module.parse(data)
        return cls(module, Role.BLOB, has_blob_types=True, blob_types=len(module.types))

    @classmethod
    def of_remainder(cls, data: bytes, blob: ModuleView, linked: Collection[str] = ()) -> ModuleView:
        """The remainder of `blob`, both `linked` with some modules."""
        module = Module.parse(data)
        has_blob_types = _type_bytes(module).startswith(_type_bytes(blob.module))
        maximum: dict[Kind, int | None] = {}
        if blob.module.memories or blob.imports[Kind.MEMORY]:
            maximum[Kind.MEMORY] = blob.memory_type(0).maximum
        if blob.module.tables or blob.imports[Kind.TABLE]:
            maximum[Kind.TABLE] = blob.table_type(0).limits.maximum
        return cls(module, Role.REMAINDER, "", has_blob_types, blob.blob_types, maximum, linked)

    @classmethod
    def of_shared(cls, data: bytes, cid: str) -> ModuleView:
        """A shared module."""
        return cls(Module.parse(data), Role.SHARED, cid)

    @property
    def title(self) -> str:
        """What the module is called in messages."""
        return f"{self.role.value} {self.cid}".rstrip()

    @property
    def is_shared(self) -> bool:
        """Whether this is a shared module, whose own globals and tables are slots and late-bound calls."""
        return self.role == Role.SHARED

    @cached_property
    def imports(self) -> dict[Kind, list[Import]]:
        """The imports of each kind."""
        return {kind: self.module.imported(kind) for kind in Kind}

    @cached_property
    def namespaces(self) -> list[str]:
        """The namespaces it imports from, each once."""
        return list(dict.fromkeys(entry.module for entry in self.module.imports))

    @cached_property
    def exports(self) -> dict[str, Export]:
        """The exports by name."""
        return {entry.name: entry for entry in self.module.exports}

    @cached_property
    def _function_names(self) -> dict[int, str]:
        return read_names(self.module)[1]

    def name(self, index: int) -> str:
        """A function as messages call it."""
        name = self._function_names.get(index)
        return f"function {index} `{name}`" if name else f"function {index}"

    @cached_property
    def _type_keys(self) -> dict[int, bytes]:
        return {}

    def type_key(self, index: int) -> bytes:
        """Bytes that are equal for equal types, whatever module they are in.

        A type that refers to others, or has a supertype, equals another only by standing in the same type section.
        """
        key = self._type_keys.get(index)
        if key is None:
            entry = at(self.module.types, index, "type")
            function = entry.function
            if function and entry.alone and all(len(type_) == 1 for type_ in function.params + function.results):
                key = type_bytes(function)
            else:
                key = self._own(index < self.blob_types) + encode_unsigned(index)
            self._type_keys[index] = key
        return key

    def value_key(self, type_: bytes) -> bytes:
        """The same for a value type."""
        return type_ if len(type_) == 1 else self.own_key(type_)

    def own_key(self, content: bytes) -> bytes:
        """Bytes for something that names types by number: equal only where the numbers mean the same."""
        return self._own(True) + encode_unsigned(len(content)) + content

    def _own(self, of_blob: bool) -> bytes:
        return b"@blob " if self.has_blob_types and of_blob else f"@{self.title} ".encode()

    def function_key(self, index: int) -> bytes:
        """The type of a function, imported or not, as `type_key` gives it."""
        return self.type_key(at(self.module.function_types, index, "function"))

    def tag_key(self, index: int) -> bytes:
        """The type of an exception tag, likewise."""
        return self.type_key(at(self._tag_types, index, "tag"))

    @cached_property
    def _tag_types(self) -> list[int]:
        imported = [entry.type for entry in self.imports[Kind.TAG] if isinstance(entry.type, int)]
        return [*imported, *self.module.tags]

    def table_type(self, index: int) -> TableType:
        """The declared type of a table; element types are comparable across modules."""
        return at(self._table_types, index, "table")

    @cached_property
    def _table_types(self) -> list[TableType]:
        imported = [entry.type for entry in self.imports[Kind.TABLE] if isinstance(entry.type, TableType)]
        types = [*imported, *(table.type for table in self.module.tables)]
        return [replace(type_, element=self.value_key(type_.element)) for type_ in types]

    def memory_type(self, index: int) -> Limits:
        """The declared limits of a memory."""
        return at(self._memory_types, index, "memory")

    @cached_property
    def _memory_types(self) -> list[Limits]:
        imported = [entry.type for entry in self.imports[Kind.MEMORY] if isinstance(entry.type, Limits)]
        return [*imported, *self.module.memories]

    def global_type(self, index: int) -> GlobalType:
        """The declared type of a global; value types are comparable across modules."""
        return at(self._global_types, index, "global")

    @cached_property
    def _global_types(self) -> list[GlobalType]:
        imported = [entry.type for entry in self.imports[Kind.GLOBAL] if isinstance(entry.type, GlobalType)]
        types = [*imported, *(entry.type for entry in self.module.globals)]
        return [replace(type_, value=self.value_key(type_.value)) for type_ in types]

    def extern_type(self, kind: Kind, index: int) -> bytes | TableType | Limits | GlobalType:
        """The type of anything, in a form that is comparable across modules."""
        if kind == Kind.TABLE:
            return self.table_type(index)
        if kind == Kind.MEMORY:
            return self.memory_type(index)
        if kind == Kind.GLOBAL:
            return self.global_type(index)
        return self.function_key(index) if kind == Kind.FUNCTION else self.tag_key(index)

    def span(self, index: int) -> tuple[int, int, int]:
        """Where the body of a defined function starts, where its instructions do, and where it ends."""
        return at(self._spans, index - len(self.imports[Kind.FUNCTION]), "function body")

    @cached_property
    def _spans(self) -> list[tuple[int, int, int]]:
        data = self.module.data
        return [(body.start, instructions_start(data, body), body.end) for body in self.module.bodies]

    @cached_property
    def _instructions(self) -> dict[int, list[Instruction]]:
        return {}

    def instructions(self, index: int) -> list[Instruction]:
        """The instructions of a function that the module defines, decoded one by one."""
        instructions = self._instructions.get(index)
        if instructions is None:
            _, start, end = self.span(index)
            instructions = decode(self.module.data, start, end)
            if self.is_shared:  # other programs run it as well
                self._instructions[index] = instructions
        return instructions

    @cached_property
    def _forwards(self) -> dict[int, Callee | None]:
        return {}

    def forwards_to(self, index: int) -> Callee | None:
        """What a defined function does nothing but call, with its own parameters, if it is such."""
        if index not in self._forwards:
            self._forwards[index] = self._find_forward(index)
        return self._forwards[index]

    def _find_forward(self, index: int) -> Callee | None:
        start, code, end = self.span(index)
        if end - code > len(_PARAMETERS) + _MOST_CALL_BYTES:
            return None
        key = self.function_key(index)
        parameters = len(self.module.function_type(self.module.function_types[index]).params)
        gets = _PARAMETERS[: 2 * parameters]
        if code != start + 1 or not self.module.data.startswith(gets, code) or len(gets) < 2 * parameters:
            return None
        code += len(gets)
        if end - code > _MOST_CALL_BYTES or self.module.data[code] not in _CALLS:
            return None
        match [(row.name, values) for row, values, _ in decode(self.module.data, code, end)]:
            case [("call", [callee]), ("end", _)] if self.function_key(callee) == key:
                return callee
            case [("i32.const", [entry]), ("call_indirect", [type_, table]), ("end", _)]:
                if self.has_private_table(table) and self.type_key(type_) == key:
                    return "late", table, entry & 0xFFFF_FFFF
        return None

    def has_private_table(self, table: int) -> bool:
        """Whether a table is one of a shared module, through which direct calls are made.

        Of those that it imports it is one of fixed size: the program's has none.
        """
        imported = self.imports[Kind.TABLE]
        if self.role == Role.BLOB or table >= len(imported):
            return self.is_shared
        type_, provider = imported[table].type, imported[table].module
        is_fixed = isinstance(type_, TableType) and type_.limits.maximum is not None
        return is_fixed and is_cid(provider) and provider not in self.linked


def type_bytes(type_: FuncType) -> bytes:
    """A function type of simple parts, as `ModuleView.type_key` gives it."""
    parts = (encode_unsigned(len(part)) + b"".join(part) for part in (type_.params, type_.results))
    return b"=" + b"".join(parts)


def decode(data: bytes, start: int = 0, end: int | None = None) -> list[Instruction]:
    """All instructions from `start` to `end`."""
    return list(decoded(data, start, end))


def decoded(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Instruction]:
    """The same one after the other."""
    reader = Reader(data, start, end)
    while reader.remaining:
        position = reader.position
        if bare := _BARE.get(data[position]):
            reader.position += 1
            yield bare
            continue
        if simple := _SIMPLE.get(data[position]):
            row, read = simple
            value, reader.position = read(data, position + 1)
            values = [value]
        elif data[position] == _I32_LOAD and data[position + 1] <= _MOST_PLAIN:
            offset, reader.position = decode_unsigned(data, position + 2)
            row, values = BY_NUMBER[None, _I32_LOAD], [data[position + 1], 0, offset]
        else:
            row, values = reader.instruction()
        yield row, values, data[position : reader.position]
    if reader.remaining < 0:
        raise reader.fail("an instruction goes beyond the end of its function", "wasm-cut-short")


def _type_bytes(module: Module) -> bytes:
    """The entries of the type section, without their number."""
    section = module.section(SectionId.TYPE)
    if section is None:
        return b""
    reader = Reader(module.data, section.content, section.end)
    reader.u32("the number of types")
    return module.data[reader.position : section.end]
