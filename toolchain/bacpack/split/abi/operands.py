"""What stands in shared code for what programs differ in."""

from __future__ import annotations

from dataclasses import dataclass

#: An import of a function takes about so many bytes, and a call through a table so many more than another.
IMPORT_BYTES, TABLE_CALL_BYTES = 66, 4


@dataclass(frozen=True, slots=True)
class SlotRead:
    """The value of a slot plus a constant."""

    slot: int
    add: int


@dataclass(frozen=True, slots=True)
class DirectCall:
    """A call of a shared function in this module or a lower one."""

    module: int
    index: int


@dataclass(frozen=True, slots=True)
class TableCall:
    """A call of a function of a lower module through its table of functions: shorter than an import for few calls."""

    module: int
    index: int


@dataclass(frozen=True, slots=True)
class LateCall:
    """A call through an entry of the module's private table."""

    entry: int
