"""How much is loaded for one program, whose modules come from strangers."""

from __future__ import annotations

from dataclasses import dataclass

from bacpack.order import DEEPEST, MOST_MODULES

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """Bounds on the graph of modules that one program may need."""

    #: Modules on one path from the program to a module that imports nothing.
    depth: int = DEEPEST
    modules: int = MOST_MODULES
    module_bytes: int = 256 * MIB
    total_bytes: int = 1024 * MIB
