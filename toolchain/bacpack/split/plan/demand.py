"""Fourth stage, second part: what each remainder asks of the shared modules, known before either is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bacpack.split.abi.operands import DirectCall
from bacpack.split.plan.resolution import Plan
from bacpack.split.shapes.fingerprint import Blob
from bacpack.split.shapes.table_entries import element_functions, is_table_plain, referenced_functions, table_entries
from bacpack.wasm import Kind, Module
from bacpack.wasm.types import Mode

#: A function that calls nothing and is no larger is copied: a call from outside takes more than one inside.
_COPY_BYTES = 16

Location = tuple[int, int]


@dataclass(slots=True)
class Demand:
    """What one remainder holds itself and what it imports. Functions are named by their index in the blob."""

    #: Functions whose code it keeps, in order.
    kept: list[int]
    #: Shared functions that it calls, by index.
    called: dict[int, Location]
    #: Functions that are reached through one of the remainder that only calls them: host functions whose reference is
    #: taken, because a host serves the module that calls it, and shared functions that the blob exports or refers to.
    forwarded_hosts: list[int]
    forwarded: list[int]
    #: Shared functions that private tables hold several times, each with one of `forwarded`: to refer to it takes less
    #: than to copy it to each place.
    repeated: dict[Location, int]
    #: Where in the program's table shared functions stand that are placed there from their modules.
    placed: list[tuple[int, Location]]


def demand(plan: Plan, blobs: Sequence[Blob]) -> list[Demand]:
    """Return what the remainder of each blob asks for."""
    return [_demand(plan, position, blob) for position, blob in enumerate(blobs)]


def called_directly(plan: Plan) -> list[set[int]]:
    """For each module the functions that higher modules call, by position."""
    called: list[set[int]] = [set() for _ in plan.modules]
    for number, module in enumerate(plan.modules):
        for function in module.functions.values():
            for operand in function.operands:
                if isinstance(operand, DirectCall) and operand.module != number:
                    called[operand.module].add(operand.index)
    return called


def _demand(plan: Plan, position: int, blob: Blob) -> Demand:
    module, locations, first = blob.module, plan.locations[position], blob.imported_functions
    kept = [
        index
        for position, index in enumerate(range(first, first + len(blob.functions)))
        if index not in locations and position not in blob.unreachable
    ]
    called = {callee for index in kept for callee in blob.functions[index - first].calls if callee in locations}
    copied = {index for index in called if _is_cheaper_copied(blob, index)}
    late = [callees[position] for module_ in plan.modules for callees in module_.late if position in callees]
    repeated = _repeated([index for index in late if index in locations], locations)
    referenced = set(_references(module))
    referenced |= {callee for index in kept for callee in blob.functions[index - first].references}
    exported = {entry.index for entry in module.exports if entry.kind == Kind.FUNCTION}
    if module.start is not None:
        exported.add(module.start)
    forwarded = {index for index in referenced | exported if index in locations} | {*repeated.values()}
    placed: list[tuple[int, Location]] = []
    for index, function in table_entries(module):
        if function in locations:
            placed.append((index, locations[function]))
    host = {index for index in referenced.union(late) if index < first}
    host |= {index for element in module.elements for index in element_functions(element) if index < first}
    return Demand(
        kept=sorted({*kept, *copied}),
        called={index: locations[index] for index in sorted((called | forwarded) - copied)},
        forwarded_hosts=sorted(host),
        forwarded=sorted(forwarded - copied),
        repeated=repeated,
        placed=placed,
    )


def _repeated(late: Sequence[int], locations: Mapping[int, Location]) -> dict[Location, int]:
    counts = Counter(locations[index] for index in late)
    return {locations[index]: index for index in reversed(late) if counts[locations[index]] > 1}


def _is_cheaper_copied(blob: Blob, index: int) -> bool:
    function = blob.functions[index - blob.imported_functions]
    return function.size <= _COPY_BYTES and not function.calls


def _references(module: Module) -> Iterator[int]:
    """Functions whose reference the remainder itself must hold: those in what is not placed by shared modules."""
    if not is_table_plain(module):
        for element in module.elements:
            yield from element_functions(element)
    for element in module.elements:
        if element.mode != Mode.ACTIVE or element.table:
            yield from element_functions(element)
    expressions = [entry.init for entry in module.globals]
    expressions += [table.init for table in module.tables if table.init is not None]
    for expression in expressions:
        yield from referenced_functions(expression)
