"""The WebAssembly binary format, and nothing else: reading, scanning and writing modules. A library of its own."""

from bacpack.wasm.errors import WasmError
from bacpack.wasm.module import Module
from bacpack.wasm.types import Export, FuncType, GlobalType, Import, Kind, Limits, SectionId, TableType

__all__ = [
    "Export",
    "FuncType",
    "GlobalType",
    "Import",
    "Kind",
    "Limits",
    "Module",
    "SectionId",
    "TableType",
    "WasmError",
]
