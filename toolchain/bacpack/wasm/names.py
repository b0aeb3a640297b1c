"""The name section: what a toolchain called the module and its functions.

Source: WebAssembly Core Specification 3.0, appendix "Custom Sections and Annotations / Name Section". The section is
advice: one that is malformed is taken for absent, as engines do.
"""

from __future__ import annotations

from bacpack.wasm import writer
from bacpack.wasm.errors import WasmError
from bacpack.wasm.leb import encode_unsigned
from bacpack.wasm.limits import MAX_FUNCTIONS
from bacpack.wasm.module import Module
from bacpack.wasm.reader import Reader

NAME_SECTION = "name"
_MODULE_NAME, _FUNCTION_NAMES = 0, 1


def read_names(module: Module) -> tuple[str | None, dict[int, str]]:
    """Return the module's name, and the names of its functions by index."""
    module_name: str | None = None
    functions: dict[int, str] = {}
    for section in module.custom_sections(NAME_SECTION):
        reader = Reader(module.data, section.content, section.end)
        try:
            reader.name("the section's name")
            while reader.remaining:
                kind = reader.byte()
                size = reader.count("bytes of names", reader.remaining)
                part = Reader(module.data, reader.skip(size, "names"), reader.position)
                if kind == _MODULE_NAME:
                    module_name = part.name("the module's name")
                elif kind == _FUNCTION_NAMES:
                    for _ in range(part.count("function names", MAX_FUNCTIONS, item_bytes=2)):
                        index = part.u32("a function index")
                        functions[index] = part.name("a function's name")
        except WasmError:
            return None, {}
    return module_name, functions


def name_section(module_name: str | None, functions: dict[int, str]) -> bytes:
    """Return a name section with its header."""
    content = b""
    if module_name is not None:
        content += bytes([_MODULE_NAME]) + writer.sized(writer.name(module_name))
    if functions:
        entries = (encode_unsigned(index) + writer.name(name) for index, name in sorted(functions.items()))
        content += bytes([_FUNCTION_NAMES]) + writer.sized(writer.vector(entries))
    return writer.custom_section(NAME_SECTION, content)
