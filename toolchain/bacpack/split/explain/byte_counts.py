"""Where the bytes of a release went: told from the bytes of its programs and modules.

So it can be asked of a folder that was written long ago. Only why functions stayed behind takes the split itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from bacpack.component.binary import COMPONENT_HEADER, Component
from bacpack.content.cid.cid import is_cid
from bacpack.split.model.records import KeptReport
from bacpack.wasm import Kind, Module, SectionId, WasmError
from bacpack.wasm.custom_sections import read_names
from bacpack.wasm.leb128 import decode_unsigned

if TYPE_CHECKING:
    from bacpack.split.model.records import Split

#: What a file consists of: `start` is the function by which a split program sets itself up, `tables` says which
#: functions are in tables, `custom` is names and other custom sections, `component` what is around core modules.
Part = Literal["code", "start", "imports", "data", "tables", "types", "exports", "custom", "component", "other"]
PARTS: tuple[Part, ...] = (
    "code", "start", "imports", "data", "tables", "types", "exports", "custom", "component", "other",
)  # fmt: skip
Parts = dict[Part, int]

ADDED = "added by bacpack: passes calls on, or keeps a maximum"
NOT_SPLIT = "in core modules that are not split"
#: The largest functions of each reason are named.
_LARGEST = 5

_SECTIONS: dict[SectionId, Part] = {
    SectionId.CUSTOM: "custom",
    SectionId.TYPE: "types",
    SectionId.IMPORT: "imports",
    SectionId.FUNCTION: "types",
    SectionId.TABLE: "tables",
    SectionId.EXPORT: "exports",
    SectionId.ELEMENT: "tables",
    SectionId.CODE: "code",
    SectionId.DATA: "data",
    SectionId.DATA_COUNT: "data",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFunction:
    """A function, by its name or its index in the blob."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StayedBehind:
    """The functions that stayed in one remainder for one reason."""

    reason: str
    functions: int
    bytes: int
    #: The largest first, and not all.
    largest: list[NamedFunction]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramBytes:
    """A program: its own bytes by part, and those of the modules that it needs by their kind."""

    name: str
    bytes: int
    parts: Parts
    needs: dict[str, int]
    #: Why its code is not in shared modules, the most bytes first; None where that is not known.
    stayed: list[StayedBehind] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleBytes:
    """A module that programs share; `kind` is None where nothing says it."""

    cid: str
    kind: str | None
    bytes: int
    parts: Parts
    users: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A release: each file once."""

    apps: list[ProgramBytes]
    modules: list[ModuleBytes]


def explain_split(split: Split) -> Explanation:
    """Say where the bytes of a split went, programs in its order."""
    users: dict[str, set[str]] = {cid: set() for cid in split.modules}
    programs = []
    for app in split.apps:
        needed = split.closure(app)
        for cid in needed:
            users[cid].add(app.name)
        needs = sum_by_kind((split.modules[cid].kind, len(split.modules[cid].data)) for cid in needed)
        programs.append(program_bytes(app.name, app.data, needs, app.kept_reports))
    modules = [module_bytes(cid, entry.kind, entry.data, users[cid]) for cid, entry in sorted(split.modules.items())]
    return Explanation(apps=programs, modules=modules)


def sum_by_kind(sizes: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    """Add up sizes of modules by kind; one that nothing tells the kind of counts as shared code."""
    sums = dict.fromkeys(("environment", "shared", "data"), 0)
    for kind, size in sizes:
        sums[kind or "shared"] += size
    return sums


def program_bytes(
    name: str, data: bytes, needs: Mapping[str, int], kept_reports: Sequence[KeptReport] | None = None
) -> ProgramBytes:
    """Say where the bytes of a program went; with what is left of it, also why."""
    parts = parts_of(data)
    stayed = None if kept_reports is None else _stayed(parts["code"], kept_reports)
    return ProgramBytes(name=name, bytes=len(data), parts=parts, needs=dict(needs), stayed=stayed)


def module_bytes(cid: str, kind: str | None, data: bytes, users: Iterable[str]) -> ModuleBytes:
    """Say where the bytes of a module went."""
    return ModuleBytes(cid=cid, kind=kind, bytes=len(data), parts=parts_of(data), users=sorted(users))


def parts_of(data: bytes) -> Parts:
    """The size of each part of a core module or component; they add up to that of `data`, well-formed or not."""
    parts = dict.fromkeys(PARTS, 0)
    try:
        if data[:8] == COMPONENT_HEADER:
            modules = Component.parse(data).modules
            for module in modules:
                _add_module(parts, module)
            parts["component"] = len(data) - sum(map(len, modules))
        else:
            _add_module(parts, data)
    except WasmError:
        return {**dict.fromkeys(PARTS, 0), "other": len(data)}
    return parts


def _add_module(parts: Parts, data: bytes) -> None:
    module = Module.parse(data)
    for section in module.sections:
        parts[_SECTIONS.get(SectionId(section.id), "other")] += section.end - section.start
    sizes = code_sizes(module)
    # A section's header is no function's, and what is before the first section is none's.
    code = module.section(SectionId.CODE)
    header = code.end - code.start - sum(sizes) if code else 0
    parts["code"] -= header
    parts["other"] += header + (module.sections[0].start if module.sections else len(data))
    start = _start(module)
    if start is not None:
        parts["code"] -= sizes[start]
        parts["start"] += sizes[start]


def code_sizes(module: Module) -> list[int]:
    """The size of each function that a module defines, with the number before it that says it."""
    section = module.section(SectionId.CODE)
    if section is None:
        return []
    _, first = decode_unsigned(module.data, section.content)
    return [end - start for start, end in pairwise([first, *(body.end for body in module.bodies)])]


def _start(module: Module) -> int | None:
    """The position of the function by which a module sets itself up, among those it defines, if it was split."""
    if module.start is None or not any(is_cid(entry.module) for entry in module.imports):
        return None
    position = module.start - len(module.imported(Kind.FUNCTION))
    return position if 0 <= position < len(module.functions) else None


def _stayed(code: int, kept_reports: Sequence[KeptReport]) -> list[StayedBehind]:
    by_reason: dict[str, list[tuple[int, str | None]]] = {}
    for entry in kept_reports:
        module = Module.parse(entry.remainder)
        sizes, start = code_sizes(module), _start(module)
        _, names = read_names(Module.parse(entry.blob))
        for size, function in zip(sizes, entry.stayed, strict=False):
            name = names.get(function.index) or f"function {function.index}"
            by_reason.setdefault(function.reason, []).append((size, name))
        for position, size in enumerate(sizes[len(entry.stayed) :], len(entry.stayed)):
            if position != start:
                by_reason.setdefault(ADDED, []).append((size, None))
    groups = [_group(reason, functions) for reason, functions in by_reason.items()]
    rest = code - sum(group.bytes for group in groups)
    if rest:
        groups.append(StayedBehind(reason=NOT_SPLIT, functions=0, bytes=rest, largest=[]))
    return sorted(groups, key=lambda group: (-group.bytes, group.reason))


def _group(reason: str, functions: list[tuple[int, str | None]]) -> StayedBehind:
    named = [(size, name) for size, name in functions if name is not None]
    largest = sorted(named, key=lambda entry: (-entry[0], entry[1]))[:_LARGEST]
    return StayedBehind(
        reason=reason,
        functions=len(functions),
        bytes=sum(size for size, _ in functions),
        largest=[NamedFunction(name=name, bytes=size) for size, name in largest],
    )
