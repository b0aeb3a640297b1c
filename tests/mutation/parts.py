"""A module taken apart into records that can be changed, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from bacpack.wasm import Export, FuncType, Import, Kind, Limits, Module, SectionId, writer
from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Data, Element, Global, Mode, Table

#: Immediates that `Instruction.with_values` can write: one number each, but for `memarg`, which has three.
_UNSIGNED = frozenset(
    ("type", "func", "table", "global", "memory", "data", "elem", "tag", "local", "label", "field", "count")
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its row of the opcode table, its immediates that are numbers, its bytes."""

    row: Opcode
    values: tuple[int, ...]
    code: bytes

    def with_values(self, *values: int) -> Instruction | None:
        """The instruction with other numbers; None when it has immediates of other kinds as well."""
        code, rest = self.row.encoding, list(values)
        for kind in self.row.immediates:
            if kind == "memarg":
                alignment, memory, offset = rest[:3]
                del rest[:3]
                code += encode_unsigned(alignment | 0x40 * bool(memory))
                code += (encode_unsigned(memory) if memory else b"") + encode_unsigned(offset)
            elif kind in _UNSIGNED:
                code += encode_unsigned(rest.pop(0))
            elif kind in ("i32", "i64") or (kind in ("block", "heap") and self.code[-1] < 0x80 and len(self.code) < 4):
                code += encode_signed(rest.pop(0))
            else:
                return None
        return None if rest else replace(self, values=values, code=code)

    def with_row(self, row: Opcode) -> Instruction:
        """Another instruction with the same immediates."""
        return Instruction(row, self.values, row.encoding + self.code[len(self.row.encoding) :])


@dataclass
class Body:
    """A function's code: groups of locals, each a number and a type, and instructions."""

    locals: list[tuple[int, bytes]]
    code: list[Instruction]

    @classmethod
    def decode(cls, data: bytes) -> Body:
        """Read a body, without its size."""
        reader = Reader(data)
        count = reader.u32("the number of local declarations")
        groups = [(reader.u32("a number of locals"), reader.value_type()) for _ in range(count)]
        code = []
        while reader.remaining:
            start = reader.position
            row, values = reader.instruction()
            code.append(Instruction(row, tuple(values), data[start : reader.position]))
        return cls(groups, code)

    def encode(self) -> bytes:
        """The bytes of the body, without its size."""
        groups = writer.vector(encode_unsigned(number) + type_ for number, type_ in self.locals)
        return groups + b"".join(instruction.code for instruction in self.code)


@dataclass(frozen=True, slots=True)
class Segment:
    """A data segment with its content."""

    mode: Mode
    memory: int
    offset: bytes | None
    content: bytes


@dataclass
class Parts:
    """A module's records. Sections whose records stay as they are keep their bytes."""

    source: Module
    #: None for a module with types that are more than plain functions: those can only be changed byte by byte.
    types: list[FuncType] | None
    imports: list[Import]
    functions: list[int]
    tables: list[Table]
    memories: list[Limits]
    tags: list[int]
    globals: list[Global]
    exports: list[Export]
    start: int | None
    elements: list[Element]
    bodies: list[bytes]
    data: list[Segment]
    #: Whole custom sections to put at the end.
    custom: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, data: bytes) -> Parts:
        """Take a module apart."""
        module = Module.parse(data)
        types = [entry.function for entry in module.types if entry.function and entry.alone]
        return cls(
            module,
            types if len(types) == len(module.types) else None,
            [*module.imports],
            [*module.functions],
            [*module.tables],
            [*module.memories],
            [*module.tags],
            [*module.globals],
            [*module.exports],
            module.start,
            [*module.elements],
            [data[body.start : body.end] for body in module.bodies],
            [
                Segment(entry.mode, entry.memory, entry.offset, data[entry.start : entry.end])
                for entry in module.data_segments
            ],
        )

    def imported(self, kind: Kind) -> list[Import]:
        """The imports of a kind, in order."""
        return [entry for entry in self.imports if entry.kind == kind]

    def count(self, kind: Kind) -> int:
        """How many of a kind there are, imported ones included."""
        defined = {
            Kind.FUNCTION: self.functions,
            Kind.TABLE: self.tables,
            Kind.MEMORY: self.memories,
            Kind.GLOBAL: self.globals,
            Kind.TAG: self.tags,
        }
        return len(self.imported(kind)) + len(defined[kind])

    def encode(self) -> bytes:
        """Put the module together again."""
        before = Parts.of(self.source.data)
        changed: dict[SectionId, bytes | None] = {}

        def write(section: SectionId, name: str, one: Callable[[Any], bytes]) -> None:
            records: Iterable[Any] | None = getattr(self, name)
            if records is not None and records != getattr(before, name):
                items = [one(record) for record in records]
                changed[section] = writer.vector(items) if items else None

        write(SectionId.TYPE, "types", writer.func_type)
        write(SectionId.IMPORT, "imports", writer.import_)
        write(SectionId.FUNCTION, "functions", encode_unsigned)
        write(SectionId.TABLE, "tables", writer.table)
        write(SectionId.MEMORY, "memories", writer.limits)
        write(SectionId.TAG, "tags", lambda index: b"\0" + encode_unsigned(index))
        write(SectionId.GLOBAL, "globals", writer.global_)
        write(SectionId.EXPORT, "exports", writer.export)
        write(SectionId.ELEMENT, "elements", writer.element)
        write(SectionId.CODE, "bodies", writer.sized)
        write(SectionId.DATA, "data", _segment)
        if self.start != before.start:
            changed[SectionId.START] = None if self.start is None else encode_unsigned(self.start)
        if len(self.data) != len(before.data):
            changed[SectionId.DATA_COUNT] = encode_unsigned(len(self.data))
        return writer.rewrite(self.source, changed) + b"".join(self.custom)


def _segment(value: Segment) -> bytes:
    return writer.data_segment(Data(value.mode, value.memory, value.offset, 0, 0), value.content)
