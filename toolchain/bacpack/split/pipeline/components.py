"""Components: their core modules are split like any other programs, and put back in their places.

The shared modules become core modules that the component imports, each by its CID, and instantiates for itself. So an
environment belongs to one instance of one core module, as it does outside of components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bacpack.component.binary import COMPONENT_HEADER, Component
from bacpack.component.exchange import Exchange, Provider, exchange_modules
from bacpack.errors import InputError
from bacpack.order import instantiation_order
from bacpack.split.input.blob import Input
from bacpack.split.input.refusals import refuse_unsound
from bacpack.split.model.records import OutputApp, Split
from bacpack.wasm import Kind, Limits, Module, TableType, WasmError

#: Smaller core modules, and those without memory, are glue that tools add: tables to be filled later, adapters.
_WORTH_SPLITTING = 2048
#: Where a component differs from a core module: the version is that of a layer.
_LAYER = slice(6, 8)


@dataclass(frozen=True, slots=True)
class Program:
    """What was given to split: a core module, or a component with the core modules in it that can be."""

    entry: Input
    component: Component | None
    #: The core modules to split, and the position of each in the component.
    parts: dict[int, Input]


def take_apart(entry: Input) -> Program:
    """Find the core modules of a component; a core module is its own only part.

    Raises `InputError` when none of them can be split.
    """
    if entry.data[:4] != COMPONENT_HEADER[:4] or entry.data[_LAYER] != COMPONENT_HEADER[_LAYER]:
        return Program(entry, None, {0: entry})
    try:
        component = Component.parse(entry.data)
    except WasmError as error:
        raise InputError(error.code, f"`{entry.path}`: {error.message}", hint=error.hint) from error
    parts: dict[int, Input] = {}
    refusal: InputError | None = None
    for position, data in enumerate(component.modules):
        part = Input(entry.name, data, f"{entry.path}, core module {position}")
        try:
            module = Module.parse(data)
            if len(data) < _WORTH_SPLITTING or not (module.memories or module.imported(Kind.MEMORY)):
                continue
            refuse_unsound(part.path, module)
        except InputError as error:
            refusal = refusal or error
        else:
            parts[position] = part
    if not parts:
        raise refusal or InputError(
            "wasm-component",
            f"`{entry.path}` is a component, and no core module in it is worth splitting",
            hint="components within it are not taken apart: split them before they are composed",
            details={"blob": entry.path},
        )
    return Program(entry, component, parts)


def pack_again(split: Split, programs: Sequence[Program]) -> Split:
    """Put what core modules became into the components that they came from.

    `split` is that of all parts of all programs, in order.
    """
    parsed = {cid: Module.parse(module.data) for cid, module in split.modules.items()}
    remaining = iter(split.apps)
    apps: list[OutputApp] = []
    for program in programs:
        parts = {position: next(remaining) for position in program.parts}
        if program.component is None:
            apps += parts.values()
        else:
            apps.append(_packed(split, program.entry, program.component, parts, parsed))
    needed = set[str]().union(*(split.closure(app) for app in apps))
    modules = {cid: module for cid, module in split.modules.items() if cid in needed}
    return Split(apps, modules, split.features)


def _packed(
    split: Split, entry: Input, component: Component, parts: dict[int, OutputApp], parsed: dict[str, Module]
) -> OutputApp:
    saved = sum(len(app.blob) - app.blob_bytes for app in parts.values())
    kept_reports = tuple(entry for app in parts.values() for entry in app.kept_reports or ())
    whole = OutputApp(entry.name, entry.data, len(entry.data) - saved, entry.data, (), kept_reports)
    exchanged = {
        position: Exchange(app.data, [Provider(cid, parsed[cid]) for cid in _lowest_first(split, app)])
        for position, app in parts.items()
        if app.imports
    }
    if not exchanged:
        return whole
    try:
        _refuse_stated_sizes(entry, component, exchanged)
        data = exchange_modules(component, exchanged)
    except WasmError as error:
        raise InputError(error.code, f"`{entry.path}`: {error.message}", hint=error.hint) from error
    # A component hands every module on to those above it, and so imports all of them itself.
    imports = {provider.name for exchange in exchanged.values() for provider in exchange.providers}
    return replace(whole, data=data, imports=tuple(sorted(imports)))


def _refuse_stated_sizes(entry: Input, component: Component, exchanged: Mapping[int, Exchange]) -> None:
    """Refuse a component whose other core modules may want more than the types of the environment's exports say.

    Memory and table of the environment grow to their sizes when the program starts, but their types say that they begin
    with nothing. Tables go unnoticed where no exchanged module exports one: they are glue between others.
    """
    modules = [Module.parse(data) for data in component.modules]
    exported = {item.kind for position in exchanged for item in modules[position].exports}
    for position, module in enumerate(modules):
        for item in module.imports if position not in exchanged else ():
            size = item.type.limits if isinstance(item.type, TableType) else item.type
            if item.kind in exported and isinstance(size, Limits) and (size.minimum or size.maximum is not None):
                raise InputError(
                    "cannot-split",
                    f"`{entry.path}` cannot be split: core module {position} in it imports a "
                    f"{item.kind.name.lower()} of a stated size, which the environment's does not have",
                    hint="link that module so that what it imports may have any size, or split the core modules before "
                    "the component is made of them",
                    details={"blob": entry.path},
                )


def _lowest_first(split: Split, app: OutputApp) -> list[str]:
    """The modules that `app` needs, each after those that it imports itself."""
    return instantiation_order("", lambda cid: split.modules[cid].imports if cid else app.imports)[:-1]
