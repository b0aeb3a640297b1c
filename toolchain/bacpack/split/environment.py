"""The environment module: memory, table and stack pointer that the modules of one job share.

It is the same bytes, and so has the same CID, for every program: memory and table start empty and have no maximum; the
remainder's start function grows them to what its blob declares.
"""

from __future__ import annotations

from functools import cache

from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, SectionId, TableType, writer
from bacpack.wasm.types import FUNCREF, I32, Global, Table

MEMORY, TABLE, STACK_POINTER = "memory", "table", "stack_pointer"
#: A function that does nothing. Some hosts load a module only when a function is imported from it.
LOAD = "load"

_ANY_SIZE = Limits(0)
_MUTABLE_I32 = GlobalType(I32, mutable=True)


@cache
def environment() -> bytes:
    """Return the bytes of the environment module."""
    return writer.module(
        [
            writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((), ()))])),
            writer.section(SectionId.FUNCTION, writer.vector([b"\0"])),
            writer.section(SectionId.TABLE, writer.vector([writer.table(Table(TableType(FUNCREF, _ANY_SIZE)))])),
            writer.section(SectionId.MEMORY, writer.vector([writer.limits(_ANY_SIZE)])),
            writer.section(
                SectionId.GLOBAL,
                writer.vector([writer.global_(Global(_MUTABLE_I32, writer.i32_const(0) + writer.END))]),
            ),
            writer.section(
                SectionId.EXPORT,
                writer.vector(
                    [
                        writer.export(Export(LOAD, Kind.FUNCTION, 0)),
                        writer.export(Export(MEMORY, Kind.MEMORY, 0)),
                        writer.export(Export(TABLE, Kind.TABLE, 0)),
                        writer.export(Export(STACK_POINTER, Kind.GLOBAL, 0)),
                    ]
                ),
            ),
            writer.section(SectionId.CODE, writer.vector([writer.sized(b"\0" + writer.END)])),
        ]
    )


def import_load(namespace: str, type_index: int) -> Import:
    """The import of the function that makes every host load the environment; its type takes and gives nothing."""
    return Import(namespace, LOAD, Kind.FUNCTION, type_index)


def import_memory(namespace: str) -> Import:
    """The import of the memory."""
    return Import(namespace, MEMORY, Kind.MEMORY, _ANY_SIZE)


def import_table(namespace: str) -> Import:
    """The import of the table."""
    return Import(namespace, TABLE, Kind.TABLE, TableType(FUNCREF, _ANY_SIZE))


def import_stack_pointer(namespace: str) -> Import:
    """The import of the stack pointer."""
    return Import(namespace, STACK_POINTER, Kind.GLOBAL, _MUTABLE_I32)
