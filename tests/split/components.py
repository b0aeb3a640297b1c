"""Runs components, whole and split: whoever runs a split hands over the core modules that it imports by CID."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import wasmtime
from wasmtime import Engine, Store
from wasmtime.component import Component, Func, Linker

from differential.harness import cid_of

#: A call of a component: its name and arguments.
Call = tuple[str, *tuple[int, ...]]
_RUN = [f"wasi:cli/run@0.2.{minor}" for minor in range(20)]


@dataclass(frozen=True)
class Outcome:
    """What a command gave: its output, and how it ended."""

    stdout: bytes
    stderr: bytes
    end: str


@dataclass
class Components:
    """One engine for components; modules are compiled once."""

    engine: Engine = field(default_factory=lambda: Engine(_quick()))
    _compiled: dict[str, wasmtime.Module] = field(default_factory=dict)

    def calls(self, component: bytes, modules: Mapping[str, bytes], calls: Sequence[Call]) -> list[object]:
        """Instantiate a component, and give what each call returned, or the trap after which no more calls are made."""
        store = Store(self.engine)
        instance = self._linker(modules).instantiate(store, Component(self.engine, component))
        given: list[object] = []
        for name, *arguments in calls:
            function = instance.get_func(store, name)
            assert isinstance(function, Func), name
            try:
                given.append(function(store, *arguments))
                if hasattr(function, "post_return"):
                    function.post_return(store)
            except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
                return [*given, _reason(error)]
        return given

    def command(self, component: bytes, modules: Mapping[str, bytes], args: Sequence[str], stdin: bytes) -> Outcome:
        """Run a component that is a command of WASI 0.2."""
        store = Store(self.engine)
        with tempfile.TemporaryDirectory() as scratch:
            given, stdout, stderr = (Path(scratch, name) for name in ("stdin", "stdout", "stderr"))
            given.write_bytes(stdin)
            wasi = wasmtime.WasiConfig()
            wasi.argv = ["program", *args]
            wasi.stdin_file, wasi.stdout_file, wasi.stderr_file = str(given), str(stdout), str(stderr)
            store.set_wasi(wasi)
            linker = self._linker(modules)
            linker.add_wasip2()
            instance = linker.instantiate(store, Component(self.engine, component))
            interface = next(found for name in _RUN if (found := instance.get_export_index(store, name)))
            index = instance.get_export_index(store, "run", interface)
            assert index is not None
            function = instance.get_func(store, index)
            assert function is not None
            try:
                end = f"returned {function(store).tag}"
            except (wasmtime.Trap, wasmtime.WasmtimeError, wasmtime.ExitTrap) as error:
                end = f"exit {error.code}" if isinstance(error, wasmtime.ExitTrap) else _reason(error)
            store.close()
            return Outcome(stdout.read_bytes(), stderr.read_bytes(), end)

    def _linker(self, modules: Mapping[str, bytes]) -> Linker:
        linker = Linker(self.engine)
        with linker.root() as root:
            for cid, data in modules.items():
                assert cid == cid_of(data)
                if cid not in self._compiled:
                    self._compiled[cid] = wasmtime.Module(self.engine, data)
                root.add_module(cid, self._compiled[cid])
        return linker


def _quick() -> wasmtime.Config:
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    return config


def _reason(error: Exception) -> str:
    """The kind of a trap: the rest of the message names functions by number."""
    code = getattr(error, "trap_code", None)
    return code.name if code is not None else str(error).strip().splitlines()[-1].strip()
