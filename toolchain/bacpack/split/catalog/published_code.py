"""A published shared module as a plan."""

from __future__ import annotations

from dataclasses import dataclass

from bacpack.split.abi.operands import LateCall, SlotRead


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant that is the same in every program."""

    value: int


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """A call of a function of a lower module, by name or position, or, with no CID, of one of this by position."""

    cid: str | None
    function: str | int


ExistingOperand = Literal | SlotRead | ModuleCall | LateCall


@dataclass(slots=True)
class ExistingFunction:
    """A function of a shared module."""

    shape: bytes
    kinds: str
    operands: list[ExistingOperand]
    #: Size of its code in bytes.
    size: int


@dataclass(slots=True)
class Existing:
    """A shared module that was written before."""

    cid: str
    data: bytes
    functions: list[ExistingFunction]
    #: Name of each function that is exported, by position.
    exported: dict[int, str]
    #: For each function that places others in the program's table, the runs of entries that it places, by position.
    placers: list[list[tuple[int, ...]]]
    #: The type of each slot.
    slots: list[bytes]
    #: How many entries its private table has.
    late: int

    @property
    def lower(self) -> set[str]:
        """CIDs of the shared modules that its functions call."""
        operands = (operand for function in self.functions for operand in function.operands)
        return {operand.cid for operand in operands if isinstance(operand, ModuleCall) and operand.cid is not None}
