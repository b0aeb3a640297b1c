"""The types and records of a module, as plain data. Value types are kept in their binary form, as `bytes`.

Source: WebAssembly Core Specification 3.0, "Binary Format / Types" and "Binary Format / Modules".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

I32, I64, F32, F64, V128 = b"\x7f", b"\x7e", b"\x7d", b"\x7c", b"\x7b"
FUNCREF, EXTERNREF = b"\x70", b"\x6f"
#: Value types that mean the same in every module: numbers, vectors, and references without a type index.
PLAIN_VALUE_TYPES = frozenset((I32, I64, F32, F64, V128, FUNCREF, EXTERNREF))


class Kind(IntEnum):
    """What an import or export is; the value is its byte in the binary format."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3
    TAG = 4


class SectionId(IntEnum):
    """Section numbers."""

    CUSTOM = 0
    TYPE = 1
    IMPORT = 2
    FUNCTION = 3
    TABLE = 4
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    START = 8
    ELEMENT = 9
    CODE = 10
    DATA = 11
    DATA_COUNT = 12
    TAG = 13


#: The order in which sections must come.
SECTION_ORDER = (
    SectionId.TYPE, SectionId.IMPORT, SectionId.FUNCTION, SectionId.TABLE, SectionId.MEMORY, SectionId.TAG,
    SectionId.GLOBAL, SectionId.EXPORT, SectionId.START, SectionId.ELEMENT, SectionId.DATA_COUNT, SectionId.CODE,
    SectionId.DATA,
)  # fmt: skip


class Mode(StrEnum):
    """When a segment is used: at instantiation, by an instruction, or never (it only declares functions)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    DECLARATIVE = "declarative"


@dataclass(frozen=True, slots=True)
class FuncType:
    """A function's parameters and results."""

    params: tuple[bytes, ...]
    results: tuple[bytes, ...]

    @property
    def is_plain(self) -> bool:
        """Whether no value type in it depends on the module that it stands in."""
        return PLAIN_VALUE_TYPES.issuperset(self.params) and PLAIN_VALUE_TYPES.issuperset(self.results)


@dataclass(frozen=True, slots=True)
class DefinedType:
    """An entry of the type section: a function type, or a struct or array (`function` is None)."""

    function: FuncType | None
    #: Whether it stands alone, final and without supertype: then equal structure means equal type in any module.
    alone: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Minimum and maximum size of a memory (in pages of 64 KiB) or of a table (in entries)."""

    minimum: int
    maximum: int | None = None
    shared: bool = False
    is_64: bool = False


@dataclass(frozen=True, slots=True)
class TableType:
    """The type of a table."""

    element: bytes
    limits: Limits


@dataclass(frozen=True, slots=True)
class GlobalType:
    """The type of a global."""

    value: bytes
    mutable: bool


#: What an import is: the index of a function's or a tag's type, or the type of a table, memory or global.
ExternType = int | TableType | Limits | GlobalType


@dataclass(frozen=True, slots=True)
class Import:
    """An import. `type` is an index into the type section for functions and tags, `Limits` for memories."""

    module: str
    name: str
    kind: Kind
    type: ExternType


@dataclass(frozen=True, slots=True)
class Export:
    """An export: `index` counts imports first."""

    name: str
    kind: Kind
    index: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table that the module defines; `init` is a constant expression, its `end` included, or None for null."""

    type: TableType
    init: bytes | None = None


@dataclass(frozen=True, slots=True)
class Global:
    """A global that the module defines; `init` is a constant expression, its `end` included."""

    type: GlobalType
    init: bytes


@dataclass(frozen=True, slots=True)
class Element:
    """An element segment: either `functions` (indices) or `expressions` (constant, with their `end`) is set."""

    mode: Mode
    table: int
    offset: bytes | None
    type: bytes
    functions: Sequence[int] | None
    expressions: list[bytes] | None

    def __len__(self) -> int:
        return len(self.functions if self.functions is not None else self.expressions or ())


@dataclass(frozen=True, slots=True)
class Data:
    """A data segment; its content is the module's bytes from `start` to `end`."""

    mode: Mode
    memory: int
    offset: bytes | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Body:
    """A function's code: the module's bytes from `start` to `end`, local declarations first."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section as it stands in the file: header from `start`, content from `content` to `end`."""

    id: int
    start: int
    content: int
    end: int
    #: The name of a custom section.
    name: str | None = None
