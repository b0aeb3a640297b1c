"""Compiling modules and running programs in wasmtime.

A program's modules are instantiated once each, providers first, in one store: they share its memory as if they were one
blob. WASI preview 1, and 0, are there for every module; its calls work on the memory that the calling module exports.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import wasmtime

from bacnode.compiled import CompileCache, Configuration
from bacnode.engine import engine_config, feature_off, needs_all_features
from bacnode.invoke import format_results, parse_arguments
from bacnode.limits import RunLimits
from bacnode.preview0 import define_preview0
from bacnode.report import TrapReport
from bacnode.resolver import Graph, Node
from bacnode.trace import calls_of
from bacpack.content.namespaces import WASI, WASI_UNSTABLE
from bacpack.errors import BacpackError, CheckFailedError, InputError
from bacpack.verdict import not_compiled
from bacpack.wasm import Kind
from bacpack.wasm.interface import Type

_BACKTRACE_HINT = "--report FILE records the calls that led there"

#: What the engine says when a memory or table is larger from the start than it may become.
_OVER_LIMIT = re.compile("exceeds (memory|table) limits")
#: Code that traps when memory or a table is refused to grow, and for nothing else: `memory.grow` or `table.grow`,
#: `i32.const -1`, `i32.eq`, `if`, `unreachable`. A split program so takes in its start section what its blob declares.
_TRAP_UNLESS_GROWN = re.compile(rb"(\x40\x00|\xfc\x0f\x00)\x41\x7f\x46\x04\x40\x00")
_UNLESS_GROWN_END = b"\x41\x7f\x46\x04\x40\x00"
#: What the engine puts before a cause: its number if there are several, and that it is a trap.
_CAUSE_PREFIX = re.compile(r"^([0-9]+: )?(wasm trap: )?")

#: The namespace under which a program itself is defined; no import can name it, since an empty one names nothing.
ROOT = ""
#: Bytes that a table takes for each entry.
_TABLE_ENTRY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Streams:
    """The files that are a program's standard streams, in place of ours."""

    stdin: Path
    stdout: Path
    stderr: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a program is given: it sees nothing of the machine but this and the standard streams."""

    #: The program's arguments, its own name first.
    arguments: Sequence[str]
    environment: Sequence[tuple[str, str]] = ()
    #: Folders of the host, each with the path under which the program sees it.
    folders: Sequence[tuple[Path, str]] = ()
    #: The exported function to call; None calls the program's entry point.
    invoke: str | None = None
    limits: RunLimits = field(default_factory=RunLimits)
    streams: Streams | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled module, how long that took, and whether it had been done before."""

    module: wasmtime.Module
    compile_ms: float
    cached: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """The exported function that is called."""

    name: str
    type: Type | None


@dataclass(frozen=True, slots=True)
class Part:
    """A module of a program as it is instantiated."""

    #: What people call it.
    name: str
    #: The namespaces under which others import from it.
    namespaces: Sequence[str]
    #: Whether `_initialize` of it is to be called before anything else in it.
    initializes: bool
    module: wasmtime.Module
    #: Whether the code at this offset of the module traps because it was refused memory, and for nothing else.
    refused_growth_at: Callable[[int], bool]
    #: Whether it imports from WASI as it was before preview 1.
    preview0: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    #: All 32 bits of it.
    exit_code: int
    #: What the called function returned, as text.
    results: Sequence[str] = ()
    trap: TrapReport | None = None
    #: What to tell a person, when the program did not end by itself.
    error: BacpackError | None = None


class TrapError(BacpackError):
    """The program did what no program may, such as to divide by zero, and was ended.

    The code is `trap`, or `memory-limit` when its memory is beyond the limit from the start: a blob cannot be
    instantiated then and a split program traps, and nobody should have to tell the two apart.
    """

    #: What the wasmtime command ends with: the shell's number for SIGABRT, as after `abort` in a native program.
    exit_status = 134


class _ProcessExit(Exception):  # noqa: N818 - an end, not an error
    """The program called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Runtime:
    """An engine, and the modules that it has compiled. One may serve many jobs, one after the other."""

    def __init__(
        self, *, interruptible: bool, fueled: bool = False, all_features: bool = True, cache: CompileCache | None = None
    ) -> None:
        config = engine_config(all_features=all_features)
        # Makes code look at a counter at every loop and call: that is how a program can be stopped from outside. The
        # price is a sixth of the time to compile, so a program without a time limit does not pay it.
        config.epoch_interruption = interruptible
        config.consume_fuel = fueled
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
        started = time.perf_counter()
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
                raise not_compiled(fetched.name, fetched.data, _one_line(str(error))) from error
            if key:
                self._compiled[key] = module
                if self._cache is not None:
                    self._cache.put(key, self._configuration, module)
        return Compiled(module, (time.perf_counter() - started) * 1000, cached)

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

    def run(self, graph: Graph, compiled: Mapping[Node, Compiled], job: Job) -> Outcome:
        """Instantiate a program's modules and call its entry point.

        Raises `InputError` for a function that cannot be called so (`no-entry-point`, `no-such-function`,
        `bad-argument`, `unsupported-signature`), and for what cannot be instantiated (`cannot-instantiate`).
        """
        entry = entry_point(graph.root, job.invoke)
        parts = (
            Part(
                node.fetched.name,
                names_of(graph, node),
                node.interface.initializes,
                compiled[node].module,
                partial(_refused_growth_at, node.fetched.data),
                WASI_UNSTABLE in node.interface.namespaces,
            )
            for node in graph.nodes
        )
        return self.run_parts(entry, list(parts), job)

    def run_parts(
        self, entry: Entry, parts: Sequence[Part], job: Job, prepare: Callable[[wasmtime.Store], object] | None = None
    ) -> Outcome:
        """Instantiate modules, the program last, and call `entry` of it; `prepare` is given the store before.

        Raises `InputError`, as `run` does for what cannot be called or instantiated.
        """
        values = parse_arguments(entry.name, entry.type, job.arguments[1:])
        # Closed here: what is collected some day keeps its memory until then.
        with self._store(job) as store, self._linker() as linker:
            if any(part.preview0 for part in parts):
                define_preview0(linker, store)
            if prepare is not None:
                prepare(store)
            return self._run_in(store, linker, entry, values, parts, job)

    def _run_in(
        self,
        store: wasmtime.Store,
        linker: wasmtime.Linker,
        entry: Entry,
        values: Sequence[int | float],
        parts: Sequence[Part],
        job: Job,
    ) -> Outcome:
        setting_up = parts[-1]
        try:
            for part in parts:
                setting_up = part
                _instantiate(linker, store, part)
        except _ProcessExit as exited:
            return Outcome(exited.code)
        except wasmtime.Trap as trap:
            if job.limits.memory_bytes is not None and _was_refused_growth(trap, setting_up):
                return _over_limit(_trap_report(trap))
            return _trapped(trap)
        except wasmtime.WasmtimeError as error:
            return _not_instantiated(setting_up.name, error)
        function = _function(linker, store, ROOT, entry.name)
        # It knows every export of every module by name, and nothing is linked any more.
        linker.close()
        try:
            result = function(store, *values)
        except _ProcessExit as exited:
            return Outcome(exited.code)
        except wasmtime.Trap as trap:
            return _trapped(trap)
        except wasmtime.WasmtimeError as error:
            return _host_refused(error)
        return Outcome(0, format_results(result if isinstance(result, list) else [result], entry.type))

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
        store.set_wasi(_wasi(job))
        return store

    def _linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self.engine)
        linker.define_wasi()
        # The engine's own refuses codes beyond 125, which programs do use.
        linker.allow_shadowing = True
        linker.define_func(WASI, "proc_exit", wasmtime.FuncType([wasmtime.ValType.i32()], []), _proc_exit)
        linker.allow_shadowing = False
        return linker


def _one_more(count: int) -> int:
    """A limit with what preview 0 of WASI takes; -1 is none."""
    return count if count < 0 else count + 1


def names_of(graph: Graph, node: Node) -> list[str]:
    """Return the namespaces under which others find a module."""
    return [ROOT] if node is graph.root else graph.namespaces(node)


def _instantiate(linker: wasmtime.Linker, store: wasmtime.Store, part: Part) -> None:
    instance = linker.instantiate(store, part.module)
    for name in part.namespaces:
        linker.define_instance(store, name, instance)
    # A library with this export is a WASI reactor: nothing else in it may be called before.
    if part.initializes:
        _function(linker, store, part.namespaces[0], "_initialize")(store)


def _function(linker: wasmtime.Linker, store: wasmtime.Store, namespace: str, name: str) -> wasmtime.Func:
    item = linker.get(store, namespace, name)
    assert isinstance(item, wasmtime.Func)
    return item


def _trapped(trap: wasmtime.Trap) -> Outcome:
    report = _trap_report(trap)
    error = TrapError("trap", f"the program trapped: {report.reason}", hint=_BACKTRACE_HINT)
    return Outcome(error.exit_status, trap=report, error=error)


def _not_instantiated(name: str, error: wasmtime.WasmtimeError) -> Outcome:
    report = _trap_report(error)
    if _OVER_LIMIT.search(report.reason):
        return _over_limit(report)
    raise InputError(
        "cannot-instantiate",
        f"`{name}` cannot be instantiated: {_one_line(str(error))}",
        hint="see what it needs with `bacpack inspect`",
        details={"module": name},
    ) from error


def _was_refused_growth(trap: wasmtime.Trap, part: Part) -> bool:
    """Whether the start function of `part`, which was being set up, trapped because it was refused memory."""
    frames = trap.frames
    # With more than one call, the innermost may be in another module.
    return len(frames) == 1 and part.refused_growth_at(frames[0].module_offset)


def _refused_growth_at(data: bytes, at: int) -> bool:
    # The engine may name the `if` as well as the `unreachable` in it.
    return _TRAP_UNLESS_GROWN.search(data, max(at - 8, 0), at + 3) is not None


def growths(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ranges of offsets at which a module traps because it was refused memory."""
    # Found by the end that all have in common, which is much faster than to look for the pattern everywhere.
    at = data.find(_UNLESS_GROWN_END)
    while at >= 0:
        for start in (at - 2, at - 3):
            found = _TRAP_UNLESS_GROWN.match(data, start) if start >= 0 else None
            if found is not None and found.end() == at + len(_UNLESS_GROWN_END):
                yield found.end() - 3, start + 8
        at = data.find(_UNLESS_GROWN_END, at + 1)


def _over_limit(report: TrapReport) -> Outcome:
    error = TrapError(
        "memory-limit",
        "the program needs more memory than --max-memory allows to start",
        hint="give it more memory with --max-memory",
    )
    return Outcome(error.exit_status, trap=report, error=error)


def _host_refused(error: wasmtime.WasmtimeError) -> Outcome:
    report = _trap_report(error)
    refused = CheckFailedError(
        "host-call", f"a call to the host broke its rules: {report.reason}", hint=_BACKTRACE_HINT
    )
    return Outcome(refused.exit_status, trap=report, error=refused)


def entry_point(root: Node, invoke: str | None) -> Entry:
    """Return the export to call, as the wasmtime command chooses it.

    Raises `InputError` (`no-entry-point`, `no-such-function`).
    """
    exports = root.interface.exports
    functions = sorted(name for name, item in exports.items() if item.kind == Kind.FUNCTION)
    if invoke is not None:
        if invoke in functions:
            return Entry(invoke, exports[invoke].type)
        raise InputError(
            "no-such-function",
            f"`{root.fetched.name}` exports no function `{invoke}`",
            hint=_functions_hint(functions),
            details={"functions": functions},
        )
    for name in ("", "_start"):
        if name in functions:
            return Entry(name, exports[name].type)
    raise InputError(
        "no-entry-point",
        f"`{root.fetched.name}` is no program: it exports no `_start`",
        hint=_functions_hint(functions),
        details={"functions": functions},
    )


def _functions_hint(functions: Sequence[str]) -> str:
    callable_names = [name for name in functions if name != "_initialize"]
    if not callable_names:
        return "it exports no function at all"
    shown = ", ".join(callable_names[:8]) + (", …" if len(callable_names) > 8 else "")
    return f"call one of its functions with --invoke: {shown}"


def _proc_exit(code: int) -> None:
    # Raised through the engine, which unwinds the program, to the caller of its entry point.
    raise _ProcessExit(code & 0xFFFFFFFF)


def _wasi(job: Job) -> wasmtime.WasiConfig:
    config = wasmtime.WasiConfig()
    config.argv = list(job.arguments)
    config.env = list(job.environment)
    if job.streams is None:
        config.inherit_stdin()
        config.inherit_stdout()
        config.inherit_stderr()
    else:
        config.stdin_file = str(job.streams.stdin)
        config.stdout_file = str(job.streams.stdout)
        config.stderr_file = str(job.streams.stderr)
    for host, guest in job.folders:
        try:
            config.preopen_dir(str(host), guest)
        except wasmtime.WasmtimeError as error:
            raise InputError(
                "cannot-open-folder",
                f"the folder `{host}` cannot be given to the program",
                hint="--dir takes a folder that exists and that you may read",
                details={"path": str(host)},
            ) from error
    return config


def _trap_report(error: wasmtime.Trap | wasmtime.WasmtimeError) -> TrapReport:
    """Take the engine's message apart: a backtrace, innermost call first, then the causes."""
    message = error.message if isinstance(error, wasmtime.Trap) else str(error)
    backtrace, _, causes = message.partition("Caused by:")
    calls = [line.strip() for line in backtrace.splitlines() if " - " in line]
    reason = next((line.strip() for line in reversed(causes.splitlines()) if line.strip()), _one_line(message))
    return TrapReport(reason=_CAUSE_PREFIX.sub("", reason), backtrace=calls, calls=calls_of(error))


def _one_line(message: str) -> str:
    return "; ".join(line.strip() for line in message.splitlines() if line.strip() and line.strip() != "Caused by:")
