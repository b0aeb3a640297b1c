"""Compiling modules and running programs in wasmtime.

A program's modules are instantiated once each, providers first, in one store: they share its memory as if they were one
blob. WASI preview 1, and 0, are there for every module; its calls work on the memory that the calling module exports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import wasmtime

from bacnode.programs.module_graph import Graph, Node
from bacnode.runtime.call_arguments import format_results, parse_arguments
from bacnode.runtime.code_cache import CompileCache, Configuration
from bacnode.runtime.engine_config import engine_config, feature_off, needs_all_features
from bacnode.runtime.plan import Plan, PlannedEntry, PlannedModule
from bacnode.runtime.run_limits import LINKED_STACK_BYTES, STACK_BYTES
from bacnode.runtime.traps import Outcome, host_refused, not_instantiated, one_line, over_limit, trap_report, trapped
from bacnode.runtime.wasi import Job, ProcessExit, proc_exit, wasi_config
from bacnode.runtime.wasi_preview0 import define_preview0
from bacpack.content.cid.import_namespace import WASI
from bacpack.errors import InputError
from bacpack.verdict import not_compiled
from bacpack.wasm import FuncType, Kind
from bacpack.wasm.interface import Type

#: The namespace under which a program itself is defined; no import can name it, since an empty one names nothing.
ROOT = ""
#: Bytes that a table takes for each entry.
_TABLE_ENTRY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled module, and whether it had been compiled before."""

    module: wasmtime.Module
    cached: bool


class Runtime:
    """An engine, and the modules that it has compiled. One may serve many jobs, one after the other."""

    def __init__(
        self,
        *,
        interruptible: bool,
        fueled: bool = False,
        all_features: bool = True,
        linked: bool = False,
        cache: CompileCache | None = None,
    ) -> None:
        """`linked` is whether its programs have more than one module; the code that it makes is the same."""
        config = engine_config(all_features=all_features)
        # Makes code look at a counter at every loop and call: that is how a program can be stopped from outside. The
        # price is a sixth of the time to compile, so a program without a time limit does not pay it.
        config.epoch_interruption = interruptible
        config.consume_fuel = fueled
        config.max_wasm_stack = LINKED_STACK_BYTES if linked else STACK_BYTES
        self.interruptible = interruptible
        self.engine = wasmtime.Engine(config)
        self._cache = cache
        self._configuration = Configuration(interruptible, fueled, all_features)
        self._compiled: dict[str, wasmtime.Module] = {}

    def compile(self, node: Node) -> Compiled:
        """Compile a module, or return what an earlier call made of it.

        Raises `InputError`: `invalid-module`; `wasm-unsupported` for one that the engine is too old for; `feature-off`
        for one that needs what is off here.
        """
        fetched = node.fetched
        # What a URL gives may change: only a CID stands for the same bytes for ever.
        key = None if fetched.cid is None else fetched.identity
        module = self.known(key) if key else None
        cached = module is not None
        if module is None:
            try:
                module = wasmtime.Module(self.engine, fetched.data)
            except wasmtime.WasmtimeError as error:
                if not self._configuration.all_features and needs_all_features(fetched.data):
                    raise feature_off(fetched.name) from error
                raise not_compiled(fetched.name, fetched.data, one_line(str(error))) from error
            if key:
                self._compiled[key] = module
                if self._cache is not None:
                    self._cache.put(key, self._configuration, module)
        return Compiled(module, cached)

    def known(self, cid: str) -> wasmtime.Module | None:
        """Return a module that was compiled before, here or by another process that shares the cache."""
        module = self._compiled.get(cid)
        if module is None and self._cache is not None:
            module = self._cache.get(cid, self._configuration, self.engine)
            if module is not None:
                self._compiled[cid] = module
        return module

    def keep_at_most(self, count: int) -> None:
        """Let go of compiled modules if there are more; those in the cache come back when they are needed."""
        if len(self._compiled) > count:
            self._compiled.clear()

    def stop(self) -> None:
        """Make the running program trap, from another thread; only for an interruptible runtime."""
        self.engine.increment_epoch()

    def run(
        self,
        plan: Plan,
        modules: Sequence[wasmtime.Module],
        job: Job,
        prepare: Callable[[wasmtime.Store], object] | None = None,
    ) -> Outcome:
        """Instantiate the compiled modules of a plan, and call its entry point; `prepare` is given the store before.

        Raises `InputError` for a function that cannot be called so (`bad-argument`, `unsupported-signature`), and for
        what cannot be instantiated (`cannot-instantiate`).
        """
        values = parse_arguments(plan.entry.name, plan.entry.type, job.arguments[1:])
        # Closed here: what is collected some day keeps its memory until then.
        with self._store(job) as store, self._linker() as linker:
            if any(module.preview0 for module in plan.modules):
                define_preview0(linker, store)
            if prepare is not None:
                prepare(store)
            return self._run_in(store, linker, values, plan, modules, job)

    def _run_in(
        self,
        store: wasmtime.Store,
        linker: wasmtime.Linker,
        values: Sequence[int | float],
        plan: Plan,
        modules: Sequence[wasmtime.Module],
        job: Job,
    ) -> Outcome:
        setting_up = plan.modules[-1]
        try:
            for planned, module in zip(plan.modules, modules, strict=True):
                setting_up = planned
                _instantiate(linker, store, planned, module)
        except ProcessExit as exited:
            return Outcome(exited.code)
        except wasmtime.Trap as trap:
            if job.limits.memory_bytes is not None and _was_refused_growth(trap, setting_up):
                return over_limit(trap_report(trap))
            return trapped(trap)
        except wasmtime.WasmtimeError as error:
            return not_instantiated(setting_up.name, error)
        function = _function(linker, store, ROOT, plan.entry.name)
        # It knows every export of every module by name, and nothing is linked any more.
        linker.close()
        try:
            result = function(store, *values)
        except ProcessExit as exited:
            return Outcome(exited.code)
        except wasmtime.Trap as trap:
            return trapped(trap)
        except wasmtime.WasmtimeError as error:
            return host_refused(error)
        return Outcome(0, format_results(result if isinstance(result, list) else [result], plan.entry.type))

    def _store(self, job: Job) -> wasmtime.Store:
        store = wasmtime.Store(self.engine)
        if self.interruptible:
            store.set_epoch_deadline(1)
        limits = job.limits
        if limits.memory_bytes is not None:
            elements = limits.table_elements or limits.memory_bytes // _TABLE_ENTRY_BYTES
            store.set_limits(
                memory_size=limits.memory_bytes,
                table_elements=elements,
                instances=_one_more(limits.instances),
                tables=limits.tables,
                memories=_one_more(limits.memories),
            )
        if limits.fuel is not None:
            store.set_fuel(limits.fuel)
        store.set_wasi(wasi_config(job))
        return store

    def _linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self.engine)
        linker.define_wasi()
        # The engine's own refuses codes beyond 125, which programs do use.
        linker.allow_shadowing = True
        linker.define_func(WASI, "proc_exit", wasmtime.FuncType([wasmtime.ValType.i32()], []), proc_exit)
        linker.allow_shadowing = False
        return linker


def _one_more(count: int) -> int:
    """A limit with what preview 0 of WASI takes; -1 is none."""
    return count if count < 0 else count + 1


def names_of(graph: Graph, node: Node) -> list[str]:
    """Return the namespaces under which others find a module."""
    return [ROOT] if node is graph.root else graph.namespaces(node)


def _instantiate(
    linker: wasmtime.Linker, store: wasmtime.Store, planned: PlannedModule, module: wasmtime.Module
) -> None:
    instance = linker.instantiate(store, module)
    for name in planned.namespaces:
        linker.define_instance(store, name, instance)
    # A library with this export is a WASI reactor: nothing else in it may be called before.
    if planned.initializes:
        _function(linker, store, planned.namespaces[0], "_initialize")(store)


def _function(linker: wasmtime.Linker, store: wasmtime.Store, namespace: str, name: str) -> wasmtime.Func:
    item = linker.get(store, namespace, name)
    assert isinstance(item, wasmtime.Func)
    return item


def _was_refused_growth(trap: wasmtime.Trap, planned: PlannedModule) -> bool:
    """Whether the start function of a module, which was being set up, trapped because it was refused memory."""
    frames = trap.frames
    # With more than one call, the innermost may be in another module.
    return len(frames) == 1 and planned.refused_growth_at(frames[0].module_offset)


def entry_point(root: Node, invoke: str | None) -> PlannedEntry:
    """Return the export to call, as the wasmtime command chooses it.

    Raises `InputError` (`no-entry-point`, `no-such-function`).
    """
    exports = root.interface.exports
    functions = sorted(name for name, item in exports.items() if item.kind == Kind.FUNCTION)
    if invoke is not None:
        if invoke in functions:
            return _entry(invoke, exports[invoke].type)
        raise InputError(
            "no-such-function",
            f"`{root.fetched.name}` exports no function `{invoke}`",
            hint=_functions_hint(functions),
            details={"functions": functions},
        )
    for name in ("", "_start"):
        if name in functions:
            return _entry(name, exports[name].type)
    raise InputError(
        "no-entry-point",
        f"`{root.fetched.name}` is no program: it exports no `_start`",
        hint=_functions_hint(functions),
        details={"functions": functions},
    )


def _entry(name: str, kind: Type | None) -> PlannedEntry:
    if not isinstance(kind, FuncType):
        return PlannedEntry(name=name, params=None, results=None)
    return PlannedEntry(name=name, params=list(kind.params), results=list(kind.results))


def _functions_hint(functions: Sequence[str]) -> str:
    callable_names = [name for name in functions if name != "_initialize"]
    if not callable_names:
        return "it exports no function at all"
    shown = ", ".join(callable_names[:8]) + (", …" if len(callable_names) > 8 else "")
    return f"call one of its functions with --invoke: {shown}"
