"""Blobs that cannot be split soundly, refused with the reason; functions that cannot be shared only stay behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NoReturn

from bacpack.content.cid.cid import is_cid
from bacpack.content.cid.import_namespace import WEBCIL
from bacpack.errors import InputError
from bacpack.wasm import Import, Kind, Limits, Module, SectionId, WasmError
from bacpack.wasm.leb128 import decode_unsigned
from bacpack.wasm.scanner import GLOBAL_GET, REF_FUNC, instructions

#: By this name object files import the memory that a linker gives them.
_OBJECT_MEMORY = "__linear_memory"
#: Of dynamic libraries, and of programs that load them (Emscripten's main modules), which have a memory of their own.
_DYNAMIC = ("dylink.0", "dylink")
#: What a module is to be in a component. A program that has it defines its memory.
_COMPONENT_TYPE = "component-type:"
#: Code beyond this would take minutes to compare.
MOST_CODE_BYTES = 64_000_000


def refuse_unsound(name: str, module: Module) -> None:
    """Raise `InputError` (`cannot-split`) when the memory of `module` cannot be the environment's."""
    code = module.section(SectionId.CODE)
    if code is not None and code.end - code.content > MOST_CODE_BYTES:
        size, most = (code.end - code.content) // 1_000_000, MOST_CODE_BYTES // 1_000_000
        hint = "optimise it for size (`wasm-opt -Oz`), or split it into programs where you build it"
        raise _refusal(name, f"it has {size} MB of code, and comparing more than {most} MB takes too long", hint)
    imported = module.imported(Kind.MEMORY)
    if any(is_cid(entry.module) for entry in module.imports):
        raise _refusal(name, "it was split before: it imports modules by CID", "split the blob that it came from")
    if imported:
        _refuse_imported_memory(name, module, imported[0])
    if any(module.custom_sections(section) for section in _DYNAMIC) and not module.memories:
        raise _dynamic_library(name)
    for memory in module.memories[:1]:
        _refuse_memory(name, memory)
    _refuse_dangling(module)


def _refuse_imported_memory(name: str, module: Module, memory: Import) -> NoReturn:
    """Say what a module is that works on the memory of another."""
    if memory.module == WEBCIL:
        hint = "leave it as it is: what can be split is the program that loads it, `dotnet.native.wasm`"
        raise _refusal(name, "it is a .NET assembly in a wrapper (Webcil), and so data, no program", hint)
    if any(module.custom_sections(section) for section in _DYNAMIC):
        raise _dynamic_library(name)
    if memory.name == _OBJECT_MEMORY:
        raise _refusal(name, "it is an object file, not linked yet", "link it with wasm-ld, and split the program")
    if any(section.name and section.name.startswith(_COMPONENT_TYPE) for section in module.sections):
        hint = "leave it as it is; a component that was made with it can be split"
        raise _refusal(name, "it is an adapter, of which components are made with programs", hint)
    if isinstance(memory.type, Limits) and memory.type.shared:
        _refuse_memory(name, memory.type)
    raise _refusal(
        name,
        f"it imports its memory (`{memory.module}` `{memory.name}`), which a shared module could not reach",
        "link it so that it defines its memory: without --import-memory, in Emscripten without -sIMPORTED_MEMORY; "
        "if it is a part or plug-in of another program, leave it as it is",
    )


def _dynamic_library(name: str) -> InputError:
    hint = "link it as a program, without -shared; if a program loads it when it runs, leave it as it is"
    return _refusal(name, "it is a dynamic library, whose addresses its loader decides", hint)


def _refuse_memory(name: str, memory: Limits) -> None:
    if memory.shared:
        hint = "build it without threads: the environment's memory belongs to one thread"
        raise _refusal(name, "its memory is shared between threads", hint)
    if memory.is_64:
        raise _refusal(name, "its memory has 64-bit addresses", "build it for wasm32")


def _refuse_dangling(module: Module) -> None:
    """Raise `WasmError` when something outside of code names a function or global that does not exist."""
    functions = [(SectionId.EXPORT, entry.index) for entry in module.exports if entry.kind == Kind.FUNCTION]
    functions += [(SectionId.ELEMENT, index) for element in module.elements for index in element.functions or ()]
    if module.start is not None:
        functions.append((SectionId.START, module.start))
    globals_ = [(SectionId.EXPORT, entry.index) for entry in module.exports if entry.kind == Kind.GLOBAL]
    for section_id, expression in _constant_expressions(module):
        for instruction in instructions(expression):
            if instruction[0] == REF_FUNC:
                functions.append((section_id, decode_unsigned(instruction, 1)[0]))
            elif instruction[0] == GLOBAL_GET:
                globals_.append((section_id, decode_unsigned(instruction, 1)[0]))
    _refuse_beyond(module, "function", len(module.function_types), functions)
    _refuse_beyond(module, "global", len(module.imported(Kind.GLOBAL)) + len(module.globals), globals_)


def _constant_expressions(module: Module) -> Iterator[tuple[SectionId, bytes]]:
    for entry in module.globals:
        yield SectionId.GLOBAL, entry.init
    for table in module.tables:
        if table.init is not None:
            yield SectionId.TABLE, table.init
    for element in module.elements:
        for expression in (element.offset, *(element.expressions or ())):
            if expression is not None:
                yield SectionId.ELEMENT, expression
    for data in module.data_segments:
        if data.offset is not None:
            yield SectionId.DATA, data.offset


def _refuse_beyond(module: Module, what: str, count: int, named: Iterable[tuple[SectionId, int]]) -> None:
    for section_id, index in named:
        if index >= count:
            section = module.section(section_id)
            raise WasmError("wasm-malformed", f"{what} {index} does not exist", section.start if section else 0)


def _refusal(name: str, reason: str, hint: str) -> InputError:
    return InputError("cannot-split", f"`{name}` cannot be split: {reason}", hint=hint, details={"blob": name})
