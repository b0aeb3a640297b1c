"""Fourth stage: what stands for each operand of a shared function, and what each blob must provide for it.

A constant equal in all members stays a literal; one that differs becomes a *slot*, a global that each remainder sets;
places whose values move together across the members share a slot and add the difference. A call goes directly to a
function of this or a lower module when that holds for all members; any other call is *late-bound*: indirect, through a
private table of the module that each remainder fills.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from bacpack.split.abi.operands import IMPORT_BYTES, TABLE_CALL_BYTES, DirectCall, LateCall, SlotRead, TableCall
from bacpack.split.catalog.code_fitting import Fit
from bacpack.split.catalog.published_code import Existing
from bacpack.split.model.grouping import Group
from bacpack.split.plan.hubs import hubs
from bacpack.split.plan.matching import SharedFunction
from bacpack.split.plan.slots import Slot, Slots
from bacpack.split.shapes.fingerprint import CALL, CONSTANTS, Blob

#: None is a constant that is the same in every member: it stays as it is.
Operand = SlotRead | DirectCall | TableCall | LateCall | None


#: The kind of an operand, the blobs that have it, and for each of them its value and what that is.
_Column = tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(slots=True)
class ResolvedFunction:
    """A shared function: the member whose bytes are taken, and what stands for each of its operands."""

    blob: int
    index: int
    operands: list[Operand]


@dataclass(slots=True)
class SharedPlan:
    """A shared module before it is written."""

    #: By position in the module: all of a new module, those of an existing one that some blob uses.
    functions: dict[int, ResolvedFunction]
    slots: list[Slot] = field(default_factory=list)
    #: For each entry of the private table, the function index by blob.
    late: list[dict[int, int]] = field(default_factory=list)
    #: The module itself, if it exists already.
    existing: Existing | None = None


@dataclass(slots=True)
class Plan:
    """All shared modules, lowest first, and where each function of each blob went."""

    modules: list[SharedPlan]
    #: For each blob: function index -> (module, position in the module).
    locations: list[dict[int, tuple[int, int]]]


def resolve(
    blobs: Sequence[Blob],
    groups: Sequence[Group[SharedFunction]],
    existing: Sequence[Existing] = (),
    fits: Sequence[Fit] = (),
) -> Plan:
    """Resolve every operand of every function in `groups`, which come lowest first.

    Below them lie the `existing` modules, to which each blob fits as `fits` says.
    """
    locations: list[dict[int, tuple[int, int]]] = [{} for _ in blobs]
    numbers = {module.cid: number for number, module in enumerate(existing)}
    for blob, fit in enumerate(fits):
        locations[blob] = {index: (numbers[cid], position) for index, (cid, position) in fit.places.items()}
    modules = [_existing_plan(module, blobs, fits) for module in existing]
    ordered = [sorted(group.items, key=lambda function: min(function.members.items())) for group in groups]
    for module, functions in enumerate(ordered, len(modules)):
        for position, function in enumerate(functions):
            for blob, index in function.members.items():
                locations[blob][blobs[blob].imported_functions + index] = (module, position)
    for blob, entry in enumerate(blobs):
        first = entry.imported_functions
        for position, other in entry.same.items():
            if first + other in locations[blob]:
                locations[blob].setdefault(first + position, locations[blob][first + other])
    apart = hubs(blobs, ordered, locations, len(existing))
    modules += [
        _Resolver(blobs, locations, module, existing).resolve(functions, apart)
        for module, functions in enumerate(ordered, len(modules))
    ]
    return Plan(modules, locations)


def _existing_plan(module: Existing, blobs: Sequence[Blob], fits: Sequence[Fit]) -> SharedPlan:
    """An existing module with what each blob sets in it."""
    slots = [Slot(type_, {}) for type_ in module.slots]
    late: list[dict[int, int]] = [{} for _ in range(module.late)]
    functions: dict[int, ResolvedFunction] = {}
    for number, (blob, fit) in enumerate(zip(blobs, fits, strict=True)):
        for index, (cid, position) in fit.places.items():
            if cid == module.cid:
                functions.setdefault(position, ResolvedFunction(number, index - blob.imported_functions, []))
        for slot, value in fit.slots(module.cid).items():
            slots[slot].values[number] = value
        for entry, function in fit.late(module.cid).items():
            late[entry][number] = function
    return SharedPlan(functions, slots, late, module)


class _Resolver:
    """Resolves the functions of one module."""

    def __init__(
        self,
        blobs: Sequence[Blob],
        locations: list[dict[int, tuple[int, int]]],
        module: int,
        existing: Sequence[Existing],
    ) -> None:
        self._existing = existing
        self._blobs = blobs
        self._locations = locations
        self._module = module
        self._direct: dict[tuple[int, int], DirectCall] = {}
        self._late: dict[tuple[tuple[int, int], ...], int] = {}

    def resolve(self, functions: Sequence[SharedFunction], hubs: Container[tuple[int, int]]) -> SharedPlan:
        every = [self._columns(function) for function in functions]
        # Most operands stand in a module several times: each is looked at once.
        counted: Counter[_Column] = Counter()
        apart: set[_Column] = set()
        for position, columns in enumerate(every):
            counted.update(columns)
            if (self._module, position) in hubs:
                apart.update(columns)
        slots = Slots(self._blobs)
        for operand, count in counted.items():
            kind, users, column, meanings = operand
            if kind != CALL:
                slots.note(CONSTANTS[kind], users, column, meanings, count, apart=operand in apart)
        slots.choose()
        stands_for: dict[_Column, Operand] = {}
        for operand in counted:
            kind, users, column, meanings = operand
            if kind == CALL:
                stands_for[operand] = self._call(users, column)
            else:
                stands_for[operand] = slots.read(CONSTANTS[kind], users, column, meanings, apart=operand in apart)
        self._use_tables(stands_for, counted)
        resolved = [
            ResolvedFunction(*min(function.members.items()), [stands_for[operand] for operand in columns])
            for function, columns in zip(functions, every, strict=True)
        ]
        return SharedPlan(dict(enumerate(resolved)), slots.chosen, [dict(callees) for callees in self._late])

    def _use_tables(self, stands_for: dict[_Column, Operand], counted: Mapping[_Column, int]) -> None:
        """Call what lies in lower modules through their tables, where importing it would take more, or cannot be."""
        lower = {
            column: call
            for column, call in stands_for.items()
            if isinstance(call, DirectCall) and call.module != self._module
        }
        calls: Counter[DirectCall] = Counter()
        for column, call in lower.items():
            calls[call] += counted[column]
        for column, call in lower.items():
            if calls[call] * TABLE_CALL_BYTES < IMPORT_BYTES or not self._is_named(call):
                stands_for[column] = TableCall(call.module, call.index)

    def _is_named(self, call: DirectCall) -> bool:
        """Whether a function can be imported: any of a new module, those of an existing one that it exports."""
        return call.module >= len(self._existing) or call.index in self._existing[call.module].exported

    def _columns(self, function: SharedFunction) -> list[_Column]:
        """The operands of a function, side by side for all its members."""
        members = sorted(function.members.items())
        values = zip(*[self._blobs[blob].functions[index].operands for blob, index in members], strict=True)
        meanings = zip(*[self._blobs[blob].meanings(index) for blob, index in members], strict=True)
        blob, index = members[0]
        users = tuple([blob for blob, _ in members])
        return list(zip(self._blobs[blob].functions[index].kinds, repeat(users), values, meanings))

    def _call(self, users: tuple[int, ...], callees: tuple[int, ...]) -> Operand:
        locations = self._locations
        location = locations[users[0]].get(callees[0])
        if (
            location is not None
            and location[0] <= self._module
            and all(
                locations[blob].get(callee) == location for blob, callee in zip(users[1:], callees[1:], strict=True)
            )
        ):
            if location not in self._direct:
                self._direct[location] = DirectCall(*location)
            return self._direct[location]
        return LateCall(self._late.setdefault(tuple(zip(users, callees, strict=True)), len(self._late)))
