"""The environment module: memory, table and registers that the modules of one job share.

It is the same bytes, and so has the same CID, for every program: memory and table start empty and have no maximum; the
remainder's start function grows them to what its blob declares.

*Registers* are mutable globals for what the functions of a program hand to each other beside parameters: the stack
pointer of C, C++ and Rust, the several of Go, the state of AssemblyScript's runtime. `registers` says which global of a
program gets which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, SectionId, TableType, writer
from bacpack.wasm.instructions import NO_LOCALS, op
from bacpack.wasm.types import FUNCREF, I32, I64, Global, Table

MEMORY, TABLE = "memory", "table"
#: A function that does nothing. Some hosts load a module only when a function is imported from it.
LOAD = "load"

_ANY_SIZE = Limits(0)


@dataclass(frozen=True, slots=True)
class Register:
    """A mutable global that the environment defines."""

    name: str
    type: GlobalType


#: All registers. The first of each type is for the global that most functions use: the stack pointer, among `i32`.
REGISTERS = tuple(
    Register(name, GlobalType(type_, mutable=True))
    for type_, names in (
        (I32, ("stack_pointer", *(f"i{number}" for number in range(1, 16)))),
        (I64, tuple(f"l{number}" for number in range(8))),
    )
    for name in names
)


@cache
def environment() -> bytes:
    """Return the bytes of the environment module."""
    zero = {I32: op("i32.const", 0) + op("end"), I64: op("i64.const", 0) + op("end")}
    exports = [Export(LOAD, Kind.FUNCTION, 0), Export(MEMORY, Kind.MEMORY, 0), Export(TABLE, Kind.TABLE, 0)]
    exports += [Export(register.name, Kind.GLOBAL, number) for number, register in enumerate(REGISTERS)]
    globals_ = [writer.global_(Global(register.type, zero[register.type.value])) for register in REGISTERS]
    return writer.module(
        [
            writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((), ()))])),
            writer.section(SectionId.FUNCTION, writer.vector([b"\0"])),
            writer.section(SectionId.TABLE, writer.vector([writer.table(Table(TableType(FUNCREF, _ANY_SIZE)))])),
            writer.section(SectionId.MEMORY, writer.vector([writer.limits(_ANY_SIZE)])),
            writer.section(SectionId.GLOBAL, writer.vector(globals_)),
            writer.section(SectionId.EXPORT, writer.vector(map(writer.export, exports))),
            writer.section(SectionId.CODE, writer.vector([writer.sized(NO_LOCALS + op("end"))])),
        ]
    )


@cache
def environment_cid() -> str:
    """The CID of the environment module."""
    return str(cid_of_bytes(environment()))


def registers_in(mask: int) -> list[int]:
    """The numbers of the registers in a set of bits, in order."""
    return [number for number in range(len(REGISTERS)) if mask >> number & 1]


def import_load(namespace: str, type_index: int) -> Import:
    """The import of the function that makes every host load the environment; its type takes and gives nothing."""
    return Import(namespace, LOAD, Kind.FUNCTION, type_index)


def import_memory(namespace: str) -> Import:
    """The import of the memory."""
    return Import(namespace, MEMORY, Kind.MEMORY, _ANY_SIZE)


def import_table(namespace: str) -> Import:
    """The import of the table."""
    return Import(namespace, TABLE, Kind.TABLE, TableType(FUNCREF, _ANY_SIZE))


def import_register(namespace: str, number: int) -> Import:
    """The import of a register."""
    return Import(namespace, REGISTERS[number].name, Kind.GLOBAL, REGISTERS[number].type)
