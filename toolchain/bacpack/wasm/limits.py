"""Sizes beyond which a module is refused before anything is allocated for it.

Engines agree on most of them (WebAssembly JavaScript Interface, "Limits"); a module beyond would run nowhere.
"""

from __future__ import annotations

MAX_MODULE_BYTES = 1 << 30
MAX_TYPES = 1_000_000
MAX_FUNCTIONS = 1_000_000
MAX_IMPORTS = 1_000_000
MAX_EXPORTS = 1_000_000
MAX_GLOBALS = 1_000_000
MAX_TAGS = 1_000_000
MAX_TABLES = 100_000
#: wasmtime and wasm-tools accept this many memories.
MAX_MEMORIES = 100
MAX_DATA_SEGMENTS = 100_000
#: wasm-tools accepts this many; engines that follow the JavaScript interface accept a hundred times as many.
MAX_ELEMENT_SEGMENTS = 100_000
MAX_TABLE_ENTRIES = 10_000_000
MAX_FUNCTION_BYTES = 7_654_321
#: Of a function, its parameters among them.
MAX_LOCALS = 50_000
MAX_PARAMETERS = 1_000
MAX_RESULTS = 1_000
MAX_STRUCT_FIELDS = 10_000
MAX_BRANCH_TARGETS = 65_520
#: wasm-tools refuses longer import and export names.
MAX_NAME_BYTES = 100_000
#: wasm-tools counts one for a module, and for each import and export one and, of a function, one for each parameter
#: and result: the sum must be smaller.
MAX_INTERFACE_SIZE = 1_000_000
