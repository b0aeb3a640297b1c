"""What a node grants: how much it loads for one program, and what that program may use.

Modules come from strangers, so every number that they choose is held against one of these before memory is spent on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bacpack.order import DEEPEST, MOST_MODULES

MIB = 1 << 20

#: A block larger than this is refused unread: the gateway specification and every implementation draw the line here.
MAX_BLOCK_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """Bounds on the graph of modules that one program may need."""

    #: Modules on one path from the program to a module that imports nothing.
    depth: int = DEEPEST
    modules: int = MOST_MODULES
    module_bytes: int = 256 * MIB
    total_bytes: int = 1024 * MIB


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
