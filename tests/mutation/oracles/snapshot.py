"""What a program holds when it is set up and its own code has not run: an engine does it, and is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import wasmtime

from bacpack.wasm import Export, GlobalType, Kind, TableType
from bacpack.wasm.types import F32, F64, FUNCREF, I32, I64
from mutation.oracles.linked import HOST, LinkedRelease, Thing
from mutation.parts import Body, Parts
from mutation.release import REMAINDER
from split.harness import engine

_FUEL = 50_000_000
_PREFIX = "\x01"

#: A number; a function; None for nothing.
Entry = Thing | None


@dataclass
class Snapshot:
    """By thing: what memories and globals hold, and tables of functions. What is missing cannot be asked for."""

    memories: dict[Thing, bytes] = field(default_factory=dict)
    globals: dict[Thing, object] = field(default_factory=dict)
    tables: dict[Thing, list[Entry]] = field(default_factory=dict)
    #: Why it was not set up.
    trap: str | None = None


class Camera:
    """Takes snapshots with one engine, which compiles each module once."""

    def __init__(self) -> None:
        self._engine = engine()
        self._compiled: dict[bytes, wasmtime.Module] = {}

    def take(self, linked: LinkedRelease, *, has_start: bool, is_split: bool, backwards: bool) -> Snapshot:
        """Instantiate the modules of a release.

        `has_start` says that the blob has a start function, which is not run.
        """
        store = wasmtime.Store(self._engine)
        store.set_fuel(_FUEL)
        provided: dict[str, wasmtime.Extern] = {}
        instances: dict[str, Mapping[str, wasmtime.Extern]] = {}
        try:
            for place in _order(linked, backwards=backwards):
                parts = linked.parts[place]
                if has_start and place == REMAINDER:
                    parts, _ = own_start(parts, is_split=is_split)
                module = self._compile(_open(parts))
                externs = []
                for entry, item in zip(parts.imports, module.imports, strict=True):
                    if entry.module in instances:
                        externs.append(instances[entry.module][entry.name])
                    else:
                        name = f"{entry.module} {entry.name}"
                        externs.append(provided.setdefault(name, _provide(store, item)))
                instance = wasmtime.Instance(store, module, externs)
                names = [item.name for item in module.exports]
                instances[place] = dict(zip(names, instance.exports(store).by_index, strict=True))
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            return Snapshot(trap=str(error).splitlines()[-1])
        return _look(store, linked, instances, provided)

    def _compile(self, data: bytes) -> wasmtime.Module:
        if data not in self._compiled:
            if len(self._compiled) > 60:
                self._compiled.clear()
            self._compiled[data] = wasmtime.Module(self._engine, data)
        return self._compiled[data]


def own_start(parts: Parts, *, is_split: bool) -> tuple[Parts, int | None]:
    """A program that only sets itself up when it is instantiated, and its own start function if it has one.

    That of a split ends by calling the program's own.
    """
    if parts.start is None or not is_split:
        return replace(parts, start=None), parts.start
    position = parts.start - len(parts.imported(Kind.FUNCTION))
    body = Body.decode(parts.bodies[position])
    if len(body.code) < 2 or body.code[-2].row.name != "call":
        return parts, None
    own = body.code.pop(-2)
    bodies = [*parts.bodies]
    bodies[position] = body.encode()
    return replace(parts, bodies=bodies), own.values[0]


def _order(linked: LinkedRelease, *, backwards: bool) -> list[str]:
    if not backwards:
        return linked.places
    done: dict[str, None] = {}

    def visit(place: str) -> None:
        for name in reversed([*dict.fromkeys(entry.module for entry in linked.parts[place].imports)]):
            if name in linked.parts and name not in done:
                visit(name)
        done[place] = None

    visit(REMAINDER)
    return [*done]


def _open(parts: Parts) -> bytes:
    """The module with everything exported."""
    every = [
        Export(f"{_PREFIX}{kind.name} {index}", kind, index)
        for kind in (Kind.FUNCTION, Kind.TABLE, Kind.MEMORY, Kind.GLOBAL)
        for index in range(parts.count(kind))
    ]
    return replace(parts, exports=[*parts.exports, *every]).encode()


def _provide(store: wasmtime.Store, item: wasmtime.ImportType) -> wasmtime.Extern:
    type_ = item.type
    if isinstance(type_, wasmtime.FuncType):
        return wasmtime.Func(store, type_, _not_called)
    if isinstance(type_, wasmtime.MemoryType):
        return wasmtime.Memory(store, type_)
    if isinstance(type_, wasmtime.TableType):
        return wasmtime.Table(store, type_, None)
    assert isinstance(type_, wasmtime.GlobalType)
    zero = {"i32": wasmtime.Val.i32(8), "i64": wasmtime.Val.i64(8), "f32": wasmtime.Val.f32(8.0)}
    return wasmtime.Global(store, type_, zero.get(str(type_.content), wasmtime.Val.f64(8.0)))


def _not_called(*_arguments: object) -> None:
    raise RuntimeError("the host is called before the program's own code runs")


def _look(
    store: wasmtime.Store,
    linked: LinkedRelease,
    instances: Mapping[str, Mapping[str, wasmtime.Extern]],
    provided: Mapping[str, wasmtime.Extern],
) -> Snapshot:
    snapshot = Snapshot()
    functions: dict[bytes, Thing] = {}
    found: dict[Thing, tuple[wasmtime.Extern, object]] = {}
    for place, externs in instances.items():
        parts = linked.parts[place]
        for kind in (Kind.FUNCTION, Kind.TABLE, Kind.MEMORY, Kind.GLOBAL):
            types = [entry.type for entry in parts.imported(kind)]
            types += [] if kind == Kind.FUNCTION else _defined(parts, kind)
            for index in range(parts.count(kind)):
                thing = linked.thing(place, kind, index)
                extern = externs[f"{_PREFIX}{kind.name} {index}"]
                if isinstance(extern, wasmtime.Func):
                    functions.setdefault(_identity(extern), thing)
                else:
                    found.setdefault(thing, (extern, types[index]))
    for name, extern in provided.items():
        if isinstance(extern, wasmtime.Func):
            functions[_identity(extern)] = Thing(HOST, Kind.FUNCTION.name, name)
    for thing, (extern, type_) in found.items():
        if isinstance(extern, wasmtime.Memory):
            snapshot.memories[thing] = bytes(extern.read(store))
        elif isinstance(extern, wasmtime.Global) and isinstance(type_, GlobalType):
            if type_.value in (I32, I64, F32, F64):
                snapshot.globals[thing] = repr(extern.value(store))
        elif isinstance(extern, wasmtime.Table) and isinstance(type_, TableType) and type_.element == FUNCREF:
            entries = (extern.get(store, entry) for entry in range(extern.size(store)))
            snapshot.tables[thing] = [
                functions[_identity(entry)] if isinstance(entry, wasmtime.Func) else None for entry in entries
            ]
    return snapshot


def _defined(parts: Parts, kind: Kind) -> list[object]:
    if kind == Kind.TABLE:
        return [entry.type for entry in parts.tables]
    return [entry.type for entry in parts.globals] if kind == Kind.GLOBAL else [*parts.memories]


def _identity(function: wasmtime.Func) -> bytes:
    """Bytes that are equal for one function of a store."""
    return bytes(function._func)
