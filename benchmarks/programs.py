"""Running a blob or a split program in wasmtime, with its modules compiled once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wasmtime

from bacpack.wasm import Module

WASI = "wasi_snapshot_preview1"


def modules_of(program: Path) -> dict[str, bytes]:
    """A program's modules by namespace, each after those it imports from; the program itself comes last, as ``""``."""
    found: dict[str, bytes] = {}

    def visit(name: str, data: bytes) -> None:
        for needed in dict.fromkeys(entry.module for entry in Module.parse(data).imports):
            if needed != WASI and needed not in found:
                visit(needed, (program.parent / "modules" / f"{needed}.wasm").read_bytes())
        found[name] = data

    visit("", program.read_bytes())
    return found


def compile_all(engine: wasmtime.Engine, modules: dict[str, bytes]) -> dict[str, wasmtime.Module]:
    """Compile modules, one after the other as a node does; each is compiled on all processors."""
    return {name: wasmtime.Module(engine, data) for name, data in modules.items()}


@dataclass
class Instance:
    """A program that is ready to be called."""

    store: wasmtime.Store
    instance: wasmtime.Instance

    def call(self, name: str, *arguments: int) -> Any:
        function = self.instance.exports(self.store)[name]
        assert isinstance(function, wasmtime.Func)
        return function(self.store, *arguments)

    @property
    def memory(self) -> wasmtime.Memory:
        found = self.instance.exports(self.store)["memory"]
        assert isinstance(found, wasmtime.Memory)
        return found


def instantiate(
    engine: wasmtime.Engine, modules: dict[str, wasmtime.Module], arguments: list[str], folder: Path | None = None
) -> Instance:
    """Instantiate every module once, in order; the program sees `folder` as `/`."""
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["program", *arguments]
    if folder:
        wasi.preopen_dir(str(folder), "/")
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    for name, module in modules.items():
        instance = linker.instantiate(store, module)
        if name:
            linker.define_instance(store, name, instance)
    return Instance(store, instance)
