"""Splits modules written by hand, and compares everything that can be observed of a blob and its split."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import wasmtime
from wasmtime import Caller, Engine, FuncType, GlobalType, Linker, MemoryType, Store, TableType, Val

from bacpack.proof.equivalence.prover import Prover
from bacpack.split.input.blob import Input
from bacpack.split.model.records import Split
from bacpack.split.pipeline.steps import split
from bacpack.wasm import GlobalType as Content
from bacpack.wasm import Kind, Module
from bacpack.wasm.types import F32, F64, I32, I64
from differential.harness import cid_of
from wasmtools import assemble, invalid_because

#: Enough for the longest loop in a test, and soon used up by one that does not end.
FUEL = 100_000_000
PAGE_BYTES = 65_536
MOST_BYTES, MOST_ENTRIES = 400 * PAGE_BYTES, 10_000
NUMBERS = {I32: "i32", I64: "i64", F32: "f32", F64: "f64"}

#: What a function is asked: its name and arguments.
Call = tuple[str, *tuple[int | float, ...]]


def work(mark: str, lines: int = 220) -> str:
    """Code that changes local 0 and nothing else, so long that sharing it pays; no other `mark` has the same."""
    chance = zlib.crc32(mark.encode())
    code = [f"f64.const {_mark(mark)!r} drop"]
    for line in range(lines):
        chance = chance * 1_103_515_245 + 12_345 & 0x7FFF_FFFF
        operation = ("add", "xor", "sub")[line % 3]
        code.append(f"local.get 0 i32.const {chance} i32.{operation} local.set 0")
    return "\n".join(code) + "\n"


#: Makes all indices of a module differ from those of the same module without it.
SHIFT = """(type (func (param f64 f64))) (type (func (param i64) (result f32 f32)))
  (func (param f64 f64)) (func (param i64) (result f32 f32) unreachable)"""


def both(text: str, imports: str = "") -> list[str]:
    """Two blobs: `text` in which every `{a|b}` is `a` in one and `b` in the other, the second with other indices."""
    first, second = (re.sub(r"\{([^|{}]*)\|([^{}]*)\}", choice, text) for choice in (r"\1", r"\2"))
    return [f"(module {imports} {first})", f"(module {imports} {SHIFT} {second})"]


def holds(module: bytes, mark: str) -> bool:
    """Whether the code that `work` made for `mark` is in a module."""
    return struct.pack("<d", _mark(mark)) in module


def _mark(mark: str) -> float:
    """A constant of a type that never becomes a slot."""
    return float(zlib.crc32(mark.encode()) + (1 << 40))


@dataclass(frozen=True)
class Behaviour:
    """Everything that can be observed of a program."""

    #: What each call gave: a list of results, or the name of a trap. One entry alone when it was not instantiated.
    calls: list[list[object] | str]
    #: Each call of a host function: its name, its arguments, and whether it could see the caller's memory.
    host: list[tuple[str, tuple[object, ...], bool]]
    #: What its exports hold afterwards: content of memories, values of globals, sizes of tables.
    state: dict[str, object]


@dataclass
class World:
    """An engine and what the host provides."""

    engine: Engine
    #: Results of host functions by name; those not named give 7.
    results: Mapping[str, int] = field(default_factory=dict)
    #: How many instructions a call may run.
    fuel: int = FUEL
    #: Whether the last module that one names comes first: any order is right that has providers before their users.
    backwards: bool = False
    #: Whether the host calls `_initialize` of each module that has it, as it would of a library.
    initializes: bool = False
    _compiled: dict[bytes, wasmtime.Module] = field(default_factory=dict)

    def run(self, program: bytes, modules: Mapping[str, bytes], calls: Sequence[Call]) -> Behaviour:
        """Instantiate a program with every module it names, and call its exports."""
        store = Store(self.engine)
        store.set_fuel(self.fuel)
        # What a program asks for beyond this it does not get, whole or split.
        store.set_limits(memory_size=MOST_BYTES, table_elements=MOST_ENTRIES)
        linker = Linker(self.engine)
        log: list[tuple[str, tuple[object, ...], bool]] = []
        provided: dict[str, object] = {}
        done: set[str] = set()

        def instantiate(data: bytes, *, host: bool) -> wasmtime.Instance:
            module = self._compile(data)
            for item in reversed(module.imports) if self.backwards else module.imports:
                if item.module in modules:
                    if item.module not in done:
                        done.add(item.module)
                        provider = instantiate(modules[item.module], host=False)
                        linker.define_instance(store, item.module, provider)
                        initialize = provider.exports(store).get("_initialize")
                        if self.initializes and isinstance(initialize, wasmtime.Func):
                            initialize(store)
                elif f"{item.module}.{item.name}" not in provided:
                    assert host, f"a shared module imports {item.module} {item.name}"
                    extern = self._provide(store, item, log)
                    provided[f"{item.module}.{item.name}"] = extern
                    linker.define(store, item.module, item.name, extern)
            return linker.instantiate(store, module)

        try:
            exports = dict(instantiate(program, host=True).exports(store))
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            return Behaviour([f"not instantiated: {_reason(error)}"], log, {})
        outcomes = [self._call(store, exports[name], arguments) for name, *arguments in calls]
        hidden = _hidden_globals(Module.parse(program))
        exports = {name: entry for name, entry in exports.items() if name not in hidden}
        state = {name: _observe(store, entry) for name, entry in (exports | provided).items()}
        return Behaviour(outcomes, log, {name: value for name, value in state.items() if value is not None})

    def forget(self) -> None:
        """Drop what was compiled."""
        self._compiled.clear()

    def _compile(self, data: bytes) -> wasmtime.Module:
        key = hashlib.sha256(data).digest()
        if key not in self._compiled:
            self._compiled[key] = wasmtime.Module(self.engine, data)
        return self._compiled[key]

    def _call(self, store: Store, function: object, arguments: Sequence[object]) -> list[object] | str:
        assert isinstance(function, wasmtime.Func)
        store.set_fuel(self.fuel)
        try:
            results = function(store, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            return _reason(error)
        return [_plain(value) for value in (results if isinstance(results, list) else [results])]

    def _provide(
        self, store: Store, item: wasmtime.ImportType, log: list[tuple[str, tuple[object, ...], bool]]
    ) -> object:
        type_ = item.type
        if isinstance(type_, FuncType):
            return self._function(store, str(item.name), type_, log)
        if isinstance(type_, MemoryType):
            return wasmtime.Memory(store, type_)
        if isinstance(type_, TableType):
            return wasmtime.Table(store, type_, None)
        assert isinstance(type_, GlobalType)
        return wasmtime.Global(store, type_, _default(type_.content, 8))

    def _function(
        self, store: Store, name: str, type_: FuncType, log: list[tuple[str, tuple[object, ...], bool]]
    ) -> wasmtime.Func:
        def called(caller: Caller, *arguments: object) -> object:
            memory = caller.get("memory")
            log.append((name, tuple(map(_plain, arguments)), memory is not None))
            if name == "peek":
                assert isinstance(memory, wasmtime.Memory), "the host wants the memory of whoever calls it"
                return memory.read(caller, arguments[0], arguments[0] + 1)[0]
            results = [_default(result, self.results.get(name, 7)).value for result in type_.results]
            return results[0] if len(results) == 1 else results or None

        return wasmtime.Func(store, type_, called, access_caller=True)


def _default(type_: wasmtime.ValType, number: int) -> Val:
    """A value of any type that a host can give."""
    name = str(type_)
    if name in ("i32", "i64"):
        return Val.i32(number) if name == "i32" else Val.i64(number)
    if name in ("f32", "f64"):
        return Val.f32(float(number)) if name == "f32" else Val.f64(float(number))
    return Val.funcref(None) if name == "funcref" else Val.externref(None)


def _plain(value: object) -> object:
    """A value that can be compared with that of another run: NaN by its bits, references by being null or not."""
    if isinstance(value, float):
        return struct.pack("<d", value).hex()
    return value if value is None or isinstance(value, int) else type(value).__name__


def _hidden_globals(module: Module) -> set[str]:
    """The names of exported globals that hold no numbers: wasmtime's Python API ends the process for some of them."""
    types = [entry.type for entry in (*module.imported(Kind.GLOBAL), *module.globals)]
    exported = {entry.name: types[entry.index] for entry in module.exports if entry.kind == Kind.GLOBAL}
    return {name for name, type_ in exported.items() if isinstance(type_, Content) and type_.value not in NUMBERS}


def _observe(store: Store, entry: object) -> object:
    if isinstance(entry, wasmtime.Memory):
        return entry.size(store), hashlib.sha256(entry.read(store)).hexdigest()
    if isinstance(entry, wasmtime.Global):
        return _plain(entry.value(store))
    return entry.size(store) if isinstance(entry, wasmtime.Table) else None


def _reason(error: Exception) -> str:
    """The kind of a trap; what else a message says depends on where functions are."""
    code = getattr(error, "trap_code", None)
    return code.name if code is not None else str(error).strip().splitlines()[-1].strip()


def engine() -> Engine:
    """An engine with every feature there is, quick to compile."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_opt_level = "none"
    for feature in ("gc", "function_references", "exceptions", "tail_call", "threads", "multi_memory", "memory64",
                    "relaxed_simd_deterministic"):  # fmt: skip
        setattr(config, f"wasm_{feature}", True)
    return Engine(config)


def split_all(blobs: Sequence[bytes]) -> Split:
    """Split blobs together; what comes out is valid, named by its CIDs, and proved equal."""
    for blob in blobs:
        assert not (reason := invalid_because(blob)), f"the test itself is wrong: {reason}"
    result = split([Input(f"app{number}", blob, f"app{number}.wasm") for number, blob in enumerate(blobs)])
    for output in (*result.modules.values(), *result.apps):
        assert not (reason := invalid_because(output.data)), reason
    for cid, module in result.modules.items():
        assert cid_of(module.data) == cid
    prover = Prover({cid: module.data for cid, module in result.modules.items()})
    for blob, app in zip(blobs, result.apps, strict=True):
        prover.prove(blob, app.data)
    return result


@dataclass(frozen=True)
class Comparer:
    """Splits blobs, runs each blob and its split, and asserts that nothing can be told apart."""

    world: World

    def __call__(
        self, blobs: Sequence[str | bytes], *calls: Call, shared: Sequence[str] = (), kept: Sequence[str] = ()
    ) -> list[Behaviour]:
        """Return what the blobs do. Functions marked by `work` must be shared if in `shared`, and not if in `kept`."""
        self.world.forget()
        binaries = [assemble(blob) if isinstance(blob, str) else blob for blob in blobs]
        result = split_all(binaries)
        modules = {cid: module.data for cid, module in result.modules.items()}
        for mark in shared:
            assert any(holds(module, mark) for module in modules.values()), f"{mark} is not shared"
        for mark in kept:
            assert not any(holds(module, mark) for module in modules.values()), f"{mark} is shared"
        behaviours = []
        for number, (blob, app) in enumerate(zip(binaries, result.apps, strict=True)):
            expected = self.world.run(blob, {}, calls)
            assert self.world.run(app.data, modules, calls) == expected, f"blob {number}"
            behaviours.append(expected)
        return behaviours
