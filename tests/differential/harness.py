"""Run a program, whole or split, and say everything that can be observed of the run.

This knows nothing of bacpack: it links a split as any host could, by instantiating what the import namespaces name, so
that a mistake in the toolchain's own runtime cannot hide one in the splitting.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import wasmtime
from filelock import FileLock
from wasmtime import Caller, FuncType, ValType

from waiting import joined

WASI = "wasi_snapshot_preview1"
#: A run that takes longer is ended: a wrong split may loop for ever.
TIME_LIMIT_SECONDS = 60.0


class LinkError(Exception):
    """The split cannot be linked by the rules: plain imports by CID, and host calls from the remainder alone."""


class Drive(Protocol):
    """What a host does with an instance; what it returns is compared."""

    def __call__(self, store: wasmtime.Store, instance: wasmtime.Instance, /) -> object: ...


def start(store: wasmtime.Store, instance: wasmtime.Instance) -> object:
    """Start a command: its entry is the export without a name, or else `_start`."""
    return call(store, instance, "" if "" in instance.exports(store) else "_start")


def call(store: wasmtime.Store, instance: wasmtime.Instance, name: str, *arguments: int) -> Any:
    """Call the exported function `name`."""
    function = instance.exports(store)[name]
    assert isinstance(function, wasmtime.Func), f"{name!r} is no function"
    return function(store, *arguments)


@dataclass(frozen=True)
class Case:
    """What a program is given."""

    args: Sequence[str] = ()
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    #: Content by path in the one folder the program can reach.
    files: Mapping[str, bytes] = field(default_factory=dict)
    drive: Drive = start


@dataclass(frozen=True)
class Outcome:
    """Everything that can be observed of a run."""

    stdout: bytes
    stderr: bytes
    #: 0 when the program returned without naming one; None after a trap.
    exit_code: int | None
    #: Kind of trap and its message; not the backtrace, for splitting moves functions.
    trap: str | None
    #: What `Case.drive` returned.
    returned: object
    #: Content by path after the run; a folder's path ends with `/` and its content is empty.
    files: Mapping[str, bytes]


def differences(blob: Outcome, split: Outcome) -> list[str]:
    """Name what differs between two runs, with both values; empty when nothing does."""
    found = []
    for name in (item.name for item in fields(Outcome) if item.name != "files"):
        before, after = getattr(blob, name), getattr(split, name)
        if before != after:
            found.append(f"{name}: {_short(before)} became {_short(after)}")
    for path in sorted(blob.files.keys() | split.files.keys()):
        before, after = blob.files.get(path), split.files.get(path)
        if before != after:
            found.append(f"file {path}: {_short(before)} became {_short(after)}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}…{text[-90:]}"


def cid_of(data: bytes) -> str:
    """CIDv1 of one raw block: written out here so that the toolchain's own is not its own witness."""
    binary = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(binary).decode().rstrip("=").lower()


class Host:
    """Runs programs with one engine, which compiles each module once.

    Hosts that are given the same cache folder, now or in a later run, compile it once between them.
    """

    def __init__(
        self, cache: Path | None = None, time_limit: float = TIME_LIMIT_SECONDS, *, backwards: bool = False
    ) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        # Most functions run once or never: what counts is the time to compile them.
        config.cranelift_opt_level = "none"
        config.cranelift_flag_set("regalloc_algorithm", "single_pass")
        self._compiling: AbstractContextManager[object] = nullcontext()
        if cache is not None:
            # One at a time: the engine compiles on all cores, and whoever waits finds the result in the cache.
            self._compiling = FileLock(cache / "lock")
            with self._compiling:
                settings = cache / "settings.toml"
                settings.write_text(f"[cache]\ndirectory = {json.dumps(str(cache / 'modules'))}\n", encoding="utf-8")
                config.cache = str(settings)
        self._engine = wasmtime.Engine(config)
        self._modules: dict[tuple[Path, int, int], wasmtime.Module] = {}
        self._time_limit = time_limit
        #: Whether the last module that one names comes first: any order is right that has providers before their users.
        self._backwards = backwards

    def run(self, program: Path, case: Case, modules: Path | None = None) -> Outcome:
        """Run a program; `modules` is the folder of `<cid>.wasm` files when it is split."""
        with tempfile.TemporaryDirectory() as scratch:
            folder, stdin, stdout, stderr = (Path(scratch, name) for name in ("files", "stdin", "stdout", "stderr"))
            _write_files(folder, case.files)
            for path, content in ((stdin, case.stdin), (stdout, b""), (stderr, b"")):
                path.write_bytes(content)
            wasi = wasmtime.WasiConfig()
            # The same name for a blob and its split, whatever their files are called.
            wasi.argv = ["program", *case.args]
            wasi.env = list(case.env.items())
            wasi.stdin_file, wasi.stdout_file, wasi.stderr_file = str(stdin), str(stdout), str(stderr)
            wasi.preopen_dir(str(folder), "/")
            store = wasmtime.Store(self._engine)
            store.set_wasi(wasi)
            exit_code, trap, returned = self._drive(store, self._compile(program), case.drive, modules)
            # WASI keeps the output files open, and may keep bytes back, until the store is gone.
            store.close()
            return Outcome(
                stdout=stdout.read_bytes(),
                stderr=stderr.read_bytes(),
                exit_code=exit_code,
                trap=trap,
                returned=returned,
                files=_read_files(folder),
            )

    def _drive(
        self, store: wasmtime.Store, program: wasmtime.Module, drive: Drive, modules: Path | None
    ) -> tuple[int | None, str | None, object]:
        """Link and run; returns the exit code, the trap and what `drive` returned."""
        providers = self._providers(program, modules)
        try:
            with self._limited(store):
                return 0, None, drive(store, self._link(store, program, providers))
        except wasmtime.ExitTrap as error:
            return error.code, None, None
        except wasmtime.Trap as error:
            if error.trap_code is wasmtime.TrapCode.INTERRUPT:
                # Two runs that never end must not count as equal.
                raise TimeoutError(f"the program did not end within {self._time_limit} s") from error
            return None, _describe(error), None

    def _link(
        self, store: wasmtime.Store, program: wasmtime.Module, providers: Mapping[str, wasmtime.Module]
    ) -> wasmtime.Instance:
        """Instantiate every module once, in order, and the program last."""
        linker = wasmtime.Linker(self._engine)
        linker.allow_shadowing = True
        linker.define_wasi()
        _define_same_every_time(linker)
        for name, module in providers.items():
            linker.define_instance(store, name, linker.instantiate(store, module))
        return linker.instantiate(store, program)

    def _providers(self, program: wasmtime.Module, modules: Path | None) -> dict[str, wasmtime.Module]:
        """Every module the program needs, by the CID that names it, each after those it imports itself."""
        found: dict[str, wasmtime.Module] = {}

        def visit(module: wasmtime.Module, path: tuple[str, ...]) -> None:
            names = [*dict.fromkeys(item.module for item in module.imports)]
            for name in reversed(names) if self._backwards else names:
                if name == WASI:
                    if path:
                        raise LinkError(f"{path[-1]} imports {WASI}: only the remainder may call the host")
                elif name in path:
                    raise LinkError(f"{name} imports itself, by way of {' and '.join(path)}")
                elif name not in found:
                    provider = self._provider(modules, name)
                    visit(provider, (*path, name))
                    found[name] = provider

        visit(program, ())
        return found

    def _provider(self, modules: Path | None, name: str) -> wasmtime.Module:
        file = None if modules is None else modules / f"{name}.wasm"
        if file is None or not file.is_file():
            raise LinkError(f"no module provides the import namespace {name!r}")
        return self._compile(file, name)

    def _compile(self, file: Path, cid: str | None = None) -> wasmtime.Module:
        """Compile a file once, however often it is run; raises if it is not what its CID says."""
        state = file.stat()
        key = (file, state.st_mtime_ns, state.st_size)
        if key not in self._modules:
            data = file.read_bytes()
            if cid is not None and cid_of(data) != cid:
                raise LinkError(f"{file} has the CID {cid_of(data)}")
            with self._compiling:
                self._modules[key] = wasmtime.Module(self._engine, data)
        return self._modules[key]

    @contextmanager
    def _limited(self, store: wasmtime.Store) -> Iterator[None]:
        store.set_epoch_deadline(1)
        timer = threading.Timer(self._time_limit, self._engine.increment_epoch)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            # A timer that is just firing must not end the next run.
            joined(timer, "the timer ends")


def _define_same_every_time(linker: wasmtime.Linker) -> None:
    """Replace the clock and the random numbers by ones that are the same in every run: DICOM files hold both."""
    ticks = 0

    def random_get(caller: Caller, address: int, length: int) -> int:
        nonlocal ticks
        ticks += 1
        _memory_of(caller).write(caller, hashlib.shake_256(ticks.to_bytes(8, "little")).digest(length), address)
        return 0

    def clock_time_get(caller: Caller, _clock: int, _precision: int, address: int) -> int:
        nonlocal ticks
        ticks += 1
        nanoseconds = 1_700_000_000_000_000_000 + ticks * 1_000_000
        _memory_of(caller).write(caller, nanoseconds.to_bytes(8, "little"), address)
        return 0

    i32, i64 = ValType.i32(), ValType.i64()
    linker.define_func(WASI, "random_get", FuncType([i32, i32], [i32]), random_get, access_caller=True)
    linker.define_func(WASI, "clock_time_get", FuncType([i32, i64, i32], [i32]), clock_time_get, access_caller=True)


def _memory_of(caller: Caller) -> wasmtime.Memory:
    memory = caller["memory"]
    assert isinstance(memory, wasmtime.Memory), "WASI wants the memory of whoever calls it"
    return memory


def _describe(trap: wasmtime.Trap) -> str:
    """Kind and message of a trap; the lines of its backtrace name functions by index, and say nothing of behaviour."""
    _, _, cause = trap.message.partition("Caused by:")
    reason = " ".join(cause.split()) or trap.message.splitlines()[0]
    return f"{trap.trap_code.name if trap.trap_code else 'no code'}: {reason}"


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _read_files(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            found[f"{name}/"] = b""
        else:
            found[name] = path.read_bytes()
    return found
