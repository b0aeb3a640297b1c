"""What a running program may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Bounds on a running program; `None` leaves it to the machine, as the wasmtime command does."""

    #: Seconds from the first instruction on; loading does not count.
    seconds: float | None = None
    #: Bytes that each linear memory, and each table, may reach.
    memory_bytes: int | None = None
    #: Entries of a table; None allows what takes as many bytes as a memory may have.
    table_elements: int | None = None
    #: Modules, tables and memories of the program; -1 for as many as it brings.
    instances: int = -1
    tables: int = -1
    memories: int = -1
    #: Instructions, roughly; None does not count them.
    fuel: int | None = None


#: Bytes of stack for the calls of a program that is one module: what the engine gives if it is not told.
STACK_BYTES = 512 * 1024
#: For one that is linked. What programs share reads from variables what a blob has as constants, and so its frames are
#: larger, by half in some functions: where a blob runs, its split has to.
LINKED_STACK_BYTES = 4 * STACK_BYTES
#: Entries of all tables of a program together, of 8 bytes each.
MAX_TABLE_ELEMENTS = 32 << 20
