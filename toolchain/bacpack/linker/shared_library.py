"""Making a module that other programs share of a linked library, so that both work on the same memory.

A library as a linker writes it has a memory of its own, and its data and stack at fixed addresses there. Linked with
`--emit-relocs` it says which numbers are addresses. The module made here imports the environment's memory, as every
split program does, and adds the address of its *reserved memory* to each of them: a piece that the program which uses
it sets aside with its own allocator, and hands over once.

- `_room` returns how many bytes of memory the module needs reserved
- `_place` takes the address of that memory, copies the module's data to it, and puts its stack there

All other functions keep names and types, and trap before the module has its memory. A module that needs none, because
it has no data and no stack, exports neither.

What is relocated is what a linker relocates, by the same records: see `bacpack.wasm.relocations`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bacpack.errors import InputError
from bacpack.linker.relocated_code import RELOCATED_KINDS, CodeRelocator
from bacpack.split.abi.environment import environment_cid, import_load, import_memory
from bacpack.wasm import Export, FuncType, GlobalType, Kind, Module, SectionId, WasmError, writer
from bacpack.wasm.custom_sections import PRODUCERS_SECTION, read_producers
from bacpack.wasm.instructions import NO_LOCALS, VOID, op
from bacpack.wasm.leb128 import decode_signed, encode_unsigned
from bacpack.wasm.relocations import (
    Relocation,
    Symbol,
    SymbolFlags,
    SymbolKind,
    read_linking,
    read_relocations,
)
from bacpack.wasm.scanner import I32_CONST
from bacpack.wasm.types import I32, Data, Global, Mode

#: Functions that a relocated module exports for its memory.
ROOM, PLACE = "_room", "_place"
#: The module's data begins at a multiple of this in its memory, as it does where the linker put it.
_ALIGNMENT = 16
_PAGE = 65536
#: What a linker gives addresses to by itself. Anything else that is absolute is a plain number.
_ADDRESSES = frozenset(
    ("__heap_base", "__heap_end", "__data_end", "__global_base", "__stack_low", "__stack_high", "__dso_handle")
)
_NO_ADDRESS = frozenset(("__memory_base", "__table_base", "__tls_base", "__tls_size", "__tls_align"))


@dataclass(frozen=True, slots=True)
class RelocatedLibrary:
    """A module that shares the memory of whoever uses it."""

    data: bytes
    #: Bytes of memory that it needs reserved; none if it has neither data nor a stack.
    reserved: int


def is_shared_form(module: Module) -> bool:
    """Whether a module works on the memory of the environment already."""
    return any(entry.module == environment_cid() for entry in module.imports)


def relocate(what: str, data: bytes) -> RelocatedLibrary:
    """Make a shared module of a library; `what` is how messages call it. One that is shared already stays as it is.

    Raises `InputError`: `cannot-share` when the library cannot be moved, or calls the host.
    """
    try:
        module = Module.parse(data)
        if is_shared_form(module):
            return RelocatedLibrary(data, reserved_bytes(module))
        return _Relocator(what, module).relocate()
    except WasmError as error:
        raise InputError(error.code, f"`{what}`: {error.message}", hint=error.hint, details={"path": what}) from error


def reserved_bytes(module: Module) -> int:
    """How many bytes a shared module needs reserved, as its function `_room` says."""
    for entry in module.exports:
        if entry.name == ROOM and entry.kind == Kind.FUNCTION:
            body = module.bodies[entry.index - len(module.imported(Kind.FUNCTION))]
            return decode_signed(module.data, body.start + 2)[0]
    return 0


def refuse(what: str, reason: str, hint: str) -> InputError:
    """The error for a library that no module can be made of."""
    return InputError(
        "cannot-share", f"`{what}` cannot share memory: {reason}", hint=hint, details={"path": what, "reason": reason}
    )


class _Relocator:
    def __init__(self, what: str, module: Module) -> None:
        self._what = what
        self._module = module
        self._hosts = module.imported(Kind.FUNCTION)
        self._refuse_imports()
        linking = read_linking(module)
        # Without relocations nothing says that a number is no address.
        if module.memories and linking is None:
            raise refuse(what, "it was linked without relocations", "link it with --emit-relocs, and strip no symbols")
        self._symbols: list[Symbol] = linking.symbols if linking else []
        self._in_code = self._addresses(SectionId.CODE)
        self._in_data = self._addresses(SectionId.DATA)
        self._stack_pointer = self._find_stack_pointer()
        self._segments = self._read_segments()
        self._needs_memory = bool(self._segments or self._in_code or self._stack_pointer is not None)

    def relocate(self) -> RelocatedLibrary:
        module = self._module
        if not self._uses_memory():
            return RelocatedLibrary(module.data, 0)
        types = [writer.func_type(module.function_type(index)) for index in range(len(module.types))]
        loads = _index(types, FuncType((), ()))
        imports = [*self._hosts, import_load(environment_cid(), loads), import_memory(environment_cid())]
        first = len(self._hosts) + 1
        base = len(module.globals)
        code = CodeRelocator(module, self._in_code, base, first - 1, self._unsupported)
        functions = list(module.functions)
        bodies = [code.body(number) for number in range(len(functions))]
        code.finish()
        entries: dict[str, int] = {}

        def add(name: str, type_index: int, body: bytes) -> None:
            entries[name] = first + len(functions)
            functions.append(type_index)
            bodies.append(body)

        exported = [entry for entry in module.exports if entry.kind == Kind.FUNCTION]
        start = None if module.start is None else code.function(module.start)
        if self._needs_memory:
            for entry in exported:
                if entry.name in (ROOM, PLACE):
                    raise refuse(self._what, f"it exports `{entry.name}` itself", "give that function another name")
                type_index = module.function_types[entry.index]
                guarded = _guarded(module.function_type(type_index), base, code.function(entry.index))
                add(entry.name, type_index, guarded)
            add(ROOM, _index(types, FuncType((), (I32,))), NO_LOCALS + op("i32.const", self._reserved()) + op("end"))
            takes_address = _index(types, FuncType((I32,), ()))
            add("", takes_address, _fix(base))
            add(PLACE, takes_address, self._place_body(base, entries.pop(""), start))
            start = None
        else:
            entries = {entry.name: code.function(entry.index) for entry in exported}
        segments = [writer.data_segment(Data(Mode.PASSIVE, 0, None, 0, 0), content) for _, content in self._segments]
        elements = [writer.element(code.element(entry)) for entry in module.elements]
        own_globals = [*module.globals, Global(GlobalType(I32, mutable=True), op("i32.const", 0) + op("end"))]
        sections = [
            (SectionId.TYPE, writer.vector(types)),
            (SectionId.IMPORT, writer.vector(map(writer.import_, imports))),
            (SectionId.FUNCTION, writer.vector(map(encode_unsigned, functions))),
            (SectionId.TABLE, writer.vector(map(writer.table, module.tables)) if module.tables else None),
            (SectionId.GLOBAL, writer.vector(map(writer.global_, own_globals))),
            (SectionId.EXPORT, writer.vector(writer.export(Export(*entry)) for entry in _functions(entries))),
            (SectionId.START, None if start is None else encode_unsigned(start)),
            (SectionId.ELEMENT, writer.vector(elements) if elements else None),
            (SectionId.DATA_COUNT, encode_unsigned(len(segments)) if segments else None),
            (SectionId.CODE, writer.vector(map(writer.sized, bodies))),
            (SectionId.DATA, writer.vector(segments) if segments else None),
        ]
        written = [writer.section(number, content) for number, content in sections if content is not None]
        reserved = self._reserved() if self._needs_memory else 0
        return RelocatedLibrary(writer.module([*written, *self._producers()]), reserved)

    def _refuse_imports(self) -> None:
        for entry in self._module.imports:
            if entry.kind == Kind.FUNCTION and entry.module.startswith(("wasi_", "wasi:", "env")):
                raise refuse(
                    self._what,
                    f"it calls the host (`{entry.name}` of `{entry.module}`), and only programs may",
                    "build it for wasm32-unknown-unknown, and leave files, time and arguments to the program",
                )
            if entry.kind != Kind.FUNCTION:
                raise refuse(
                    self._what,
                    f"it imports `{entry.name}` of `{entry.module}`, which is no function",
                    "link it without --import-memory and --import-table",
                )
        if self._module.memories[1:] or any(memory.shared or memory.is_64 for memory in self._module.memories):
            raise refuse(self._what, "its memory is no plain one of 32 bits", "build it for wasm32, without threads")
        if any(entry.function is None or not entry.alone for entry in self._module.types) or self._module.tags:
            raise refuse(self._what, "it uses types or tags that a module keeps to itself", "build it without them")

    def _uses_memory(self) -> bool:
        return self._needs_memory or bool(self._module.memories)

    def _addresses(self, section: SectionId) -> list[Relocation]:
        """Relocations of addresses in memory, those of nothing that exists left out."""
        found = []
        for entry in read_relocations(self._module, section):
            if entry.kind in RELOCATED_KINDS:
                if self._is_address(entry):
                    found.append(entry)
            elif entry.kind.name.startswith(("MEMORY", "GLOBAL_INDEX_I32", "FUNCTION_INDEX_I32")):
                self._unsupported(f"it has a relocation of kind {entry.kind.name.lower()}")
        return found

    def _is_address(self, entry: Relocation) -> bool:
        if entry.index >= len(self._symbols) or self._symbols[entry.index].kind != SymbolKind.DATA:
            self._unsupported("a relocation names no data")
        symbol = self._symbols[entry.index]
        if symbol.index is None:
            # A weak symbol that nobody defined: its address is zero, wherever the module is.
            return False
        if symbol.flags & SymbolFlags.TLS or symbol.name in _NO_ADDRESS:
            self._unsupported(f"it uses `{symbol.name}`")
        return not symbol.flags & SymbolFlags.ABSOLUTE or symbol.name in _ADDRESSES

    def _find_stack_pointer(self) -> int | None:
        """The index of the stack pointer; raises for any other global that may hold an address."""
        named = {symbol.index for symbol in self._symbols if symbol.kind == SymbolKind.GLOBAL}
        pointers = {
            symbol.index
            for symbol in self._symbols
            if symbol.kind == SymbolKind.GLOBAL and symbol.name == "__stack_pointer"
        }
        found = None
        exported = {entry.index: entry.name for entry in self._module.exports if entry.kind == Kind.GLOBAL}
        for index, entry in enumerate(self._module.globals):
            if entry.type == GlobalType(I32, mutable=True) and index in pointers and entry.init[0] == I32_CONST:
                found = index
            elif index in named or (index not in exported and entry.type.value == I32):
                self._unsupported(f"its global {index} may hold an address")
            elif entry.type.mutable and entry.type.value == I32:
                self._unsupported(f"its global `{exported[index]}` may hold an address")
        return found

    def _read_segments(self) -> list[tuple[int, bytes]]:
        segments = []
        for segment in self._module.data_segments:
            if segment.mode != Mode.ACTIVE or segment.offset is None or segment.offset[0] != I32_CONST:
                self._unsupported("its data is not at fixed addresses")
            else:
                address = decode_signed(segment.offset, 1)[0] & 0xFFFFFFFF
                segments.append((address, self._module.data[segment.start : segment.end]))
        return segments

    def _reserved(self) -> int:
        """Bytes from address 0 to the end of what the linker laid out, and what aligning may take."""
        ends = [address + len(content) for address, content in self._segments]
        if self._stack_pointer is not None:
            ends.append(self._initial(self._stack_pointer))
        heaps = [
            entry.index for entry in self._module.exports if entry.name == "__heap_base" and entry.kind == Kind.GLOBAL
        ]
        ends += [self._initial(index) for index in heaps]
        uses_heap = any(
            self._symbols[entry.index].name in ("__heap_base", "__heap_end") for entry in self._in_code + self._in_data
        )
        # An allocator that takes what is left of the last page finds it where the linker said it is.
        if uses_heap or not heaps:
            ends.append(self._module.memories[0].minimum * _PAGE if self._module.memories else 0)
        return max(ends, default=0) + _ALIGNMENT - 1

    def _initial(self, index: int) -> int:
        return decode_signed(self._module.globals[index].init, 1)[0] & 0xFFFFFFFF

    def _place_body(self, base: int, fix: int, start: int | None) -> bytes:
        """`_place`: set the base, clear the memory, copy the data, move its addresses, set the stack pointer."""
        get, set_, add = op("global.get", base), op("global.set", base), op("i32.add")
        # A second call changes nothing.
        code = [get, op("if", VOID), op("return"), op("end"), op("local.get", 0), op("i32.const", _ALIGNMENT - 1), add]
        code += [op("i32.const", -_ALIGNMENT), op("i32.and"), set_]
        code += [get, op("i32.const", 0), op("i32.const", self._reserved() - _ALIGNMENT + 1), op("memory.fill", 0)]
        for number, (address, content) in enumerate(self._segments):
            code += get, op("i32.const", address), add, op("i32.const", 0), op("i32.const", len(content))
            code += op("memory.init", number, 0), op("data.drop", number)
        for address in self._words():
            code += op("i32.const", address), op("call", fix)
        if (pointer := self._stack_pointer) is not None:
            code += get, op("i32.const", self._initial(pointer)), add, op("global.set", pointer)
        if start is not None:
            code.append(op("call", start))
        return NO_LOCALS + b"".join(code) + op("end")

    def _words(self) -> Iterator[int]:
        """Where, as the linker laid it out, the data holds addresses."""
        section = self._module.section(SectionId.DATA)
        places = [entry.offset + section.content for entry in self._in_data] if section else []
        for segment, (address, _) in zip(self._module.data_segments, self._segments, strict=True):
            for at in places:
                if segment.start <= at and at + 4 <= segment.end:
                    yield address + at - segment.start

    def _producers(self) -> Iterator[bytes]:
        for section in self._module.custom_sections(PRODUCERS_SECTION):
            if read_producers(self._module):
                yield self._module.data[section.start : section.end]

    def _unsupported(self, reason: str) -> None:
        raise refuse(self._what, reason, "build it as a plain library: no threads, no position-independent code")


def _index(types: list[bytes], type_: FuncType) -> int:
    """The index of a type in `types`, where it is added if it is not there."""
    encoded = writer.func_type(type_)
    if encoded not in types:
        types.append(encoded)
    return types.index(encoded)


def _functions(entries: Mapping[str, int]) -> Iterator[tuple[str, Kind, int]]:
    for name, index in entries.items():
        yield name, Kind.FUNCTION, index


def _guarded(type_: FuncType, base: int, index: int) -> bytes:
    """Code that calls a function if the module has its memory, and traps otherwise."""
    trap = op("global.get", base) + op("i32.eqz") + op("if", VOID) + op("unreachable") + op("end")
    gets = b"".join(op("local.get", number) for number in range(len(type_.params)))
    return NO_LOCALS + trap + gets + op("call", index) + op("end")


def _fix(base: int) -> bytes:
    """Code that adds the base to the word at an address, which counts from the base."""
    add_base = op("global.get", base) + op("i32.add")
    address = op("global.get", base) + op("local.get", 0) + op("i32.add") + op("local.tee", 0) + op("local.get", 0)
    # Words of data need not be aligned.
    return NO_LOCALS + address + op("i32.load", 0, 0) + add_base + op("i32.store", 0, 0) + op("end")
