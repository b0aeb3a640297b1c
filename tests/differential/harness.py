"""Run a program, whole or split, and say everything that can be observed of the run.

This knows nothing of bacpack: it links a split as any host could, by instantiating what the import namespaces name, so
that a mistake in the toolchain's own runtime cannot hide one in the splitting.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import wasmtime
from wasmtime import Caller, FuncType, ValType

WASI = "wasi_snapshot_preview1"
#: A run that takes longer is ended with the trap `INTERRUPT`: a wrong split may loop for ever.
TIME_LIMIT_SECONDS = 60.0


class LinkError(Exception):
    """The split cannot be linked by the rules: plain imports by CID, and host calls from the remainder alone."""


@dataclass(frozen=True)
class Case:
    """What a program is given."""

    args: Sequence[str] = ()
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    #: Content by path in the one folder the program can reach.
    files: Mapping[str, bytes] = field(default_factory=dict)
    #: Exports to call, in order; the program's own start when empty.
    calls: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """Everything that can be observed of a run."""

    stdout: bytes
    stderr: bytes
    #: 0 when the program returned without naming one; None after a trap.
    exit_code: int | None
    #: Kind of trap and its message; not the backtrace, for splitting moves functions.
    trap: str | None
    #: What the last call returned.
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
    """Runs programs with one engine; each module is compiled once, and once only across runs if given a cache."""

    def __init__(self, cache_config: Path | None = None, time_limit: float = TIME_LIMIT_SECONDS) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        if cache_config is not None:
            config.cache = str(cache_config)
        self._engine = wasmtime.Engine(config)
        self._modules: dict[bytes, wasmtime.Module] = {}
        self._time_limit = time_limit

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
            exit_code, trap, returned = self._call(store, self._compile(program), case.calls, modules)
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

    def _call(
        self, store: wasmtime.Store, program: wasmtime.Module, calls: Sequence[str], modules: Path | None
    ) -> tuple[int | None, str | None, object]:
        """Link, start and call; returns the exit code, the trap and what the last call returned."""
        try:
            with self._limited(store):
                exports = self.link(store, program, modules).exports(store)
                returned: object = None
                for name in calls or ([""] if "" in exports else ["_start"]):
                    function = exports[name]
                    assert isinstance(function, wasmtime.Func), f"{name!r} is no function"
                    returned = function(store)
                return 0, None, returned
        except wasmtime.ExitTrap as error:
            return error.code, None, None
        except wasmtime.Trap as error:
            return None, _describe(error), None

    def link(self, store: wasmtime.Store, program: wasmtime.Module, modules: Path | None) -> wasmtime.Instance:
        """Instantiate a program after every module it imports, each once, found by the CID that names it."""
        linker = wasmtime.Linker(self._engine)
        linker.allow_shadowing = True
        linker.define_wasi()
        _define_same_every_time(linker)
        done: set[str] = set()

        def instantiate(module: wasmtime.Module, path: tuple[str, ...]) -> wasmtime.Instance:
            for name in dict.fromkeys(item.module for item in module.imports):
                if name == WASI:
                    if path:
                        raise LinkError(f"{path[-1]} imports {WASI}: only the remainder may call the host")
                elif name in path:
                    raise LinkError(f"{name} imports itself, by way of {' and '.join(path)}")
                elif name not in done:
                    provider = instantiate(self._provider(modules, name), (*path, name))
                    linker.define_instance(store, name, provider)
                    done.add(name)
            return linker.instantiate(store, module)

        return instantiate(program, ())

    def _provider(self, modules: Path | None, name: str) -> wasmtime.Module:
        file = None if modules is None else modules / f"{name}.wasm"
        if file is None or not file.is_file():
            raise LinkError(f"no module provides the import namespace {name!r}")
        if (actual := cid_of(file.read_bytes())) != name:
            raise LinkError(f"{file} has the CID {actual}")
        return self._compile(file)

    def _compile(self, file: Path) -> wasmtime.Module:
        data = file.read_bytes()
        key = hashlib.sha256(data).digest()
        if key not in self._modules:
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
            timer.join()


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
