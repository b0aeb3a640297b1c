"""Fourth stage, second part: what each remainder asks of the shared modules, known before either is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bacpack.split.elements import element_functions, is_placeable, placeable, referenced_functions
from bacpack.split.fingerprint import Blob
from bacpack.split.resolve import Plan
from bacpack.wasm import Kind, Module

#: A function that calls nothing and is no larger is cheaper copied than imported: an import takes about 66 bytes.
_COPY_BYTES = 64

Home = tuple[int, int]


@dataclass(slots=True)
class Demand:
    """What one remainder holds itself and what it imports. Functions are named by their index in the blob."""

    #: Functions whose code it keeps, in order.
    kept: list[int]
    #: Shared functions it imports, by index.
    imported: dict[int, Home]
    #: Functions that are reached through one of the remainder that only calls them: host functions whose reference is
    #: taken, because a host serves the module that calls it, and shared functions that the blob exports.
    forwarded_hosts: list[int]
    forwarded_exports: list[int]
    #: Shared functions that their modules place into the program's table, by index.
    placed: dict[int, Home]


def demand(plan: Plan, blobs: Sequence[Blob]) -> list[Demand]:
    """Return what the remainder of each blob asks for."""
    return [_demand(plan, position, blob) for position, blob in enumerate(blobs)]


def placed(plan: Plan, demands: Sequence[Demand]) -> list[dict[int, int]]:
    """For each shared module the functions that it places in tables, and the place of each in its segment."""
    places: list[dict[int, int]] = [dict(module.existing.placed) if module.existing else {} for module in plan.modules]
    for demand_ in demands:
        for module, position in demand_.placed.values():
            places[module].setdefault(position, len(places[module]))
    return places


def _demand(plan: Plan, position: int, blob: Blob) -> Demand:
    module, homes, first = blob.module, plan.homes[position], blob.imported_functions
    kept = [index for index in range(first, first + len(blob.functions)) if index not in homes]
    called = {callee for index in kept for callee in blob.functions[index - first].calls}
    referenced = set(_references(module))
    referenced |= {callee for index in kept for callee in blob.functions[index - first].references}
    referenced |= {shared[position] for plan_ in plan.modules for shared in plan_.late if position in shared}
    exported = {entry.index for entry in module.exports if entry.kind == Kind.FUNCTION}
    needed = {index for index in called | referenced | exported if index in homes}
    if module.start is not None and module.start in homes:
        needed.add(module.start)
    placed: dict[int, Home] = {}
    for element in module.elements:
        for index in placeable(module, element):
            if index in homes and _places(plan, homes[index]):
                placed[index] = homes[index]
            elif index in homes:
                needed.add(index)
    copied = {index for index in needed if _is_cheaper_copied(blob, index)}
    host = {index for index in referenced if index < first}
    host |= {index for element in module.elements for index in element_functions(element) if index < first}
    return Demand(
        kept=sorted({*kept, *copied}),
        imported={index: homes[index] for index in sorted(needed - copied)},
        forwarded_hosts=sorted(host),
        forwarded_exports=sorted(index for index in exported - copied if index in homes),
        placed=placed,
    )


def _places(plan: Plan, home: Home) -> bool:
    """Whether a module can place a function: a new one any, an existing one those in its segment."""
    existing = plan.modules[home[0]].existing
    return existing is None or home[1] in existing.placed


def _is_cheaper_copied(blob: Blob, index: int) -> bool:
    function = blob.functions[index - blob.imported_functions]
    return function.size <= _COPY_BYTES and not function.calls


def _references(module: Module) -> Iterator[int]:
    """Functions whose reference the remainder itself must hold: those in what is not placed by shared modules."""
    for element in module.elements:
        if not is_placeable(module, element):
            yield from element_functions(element)
    expressions = [entry.init for entry in module.globals]
    expressions += [table.init for table in module.tables if table.init is not None]
    for expression in expressions:
        yield from referenced_functions(expression)
