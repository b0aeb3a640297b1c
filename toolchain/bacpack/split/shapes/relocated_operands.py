"""What operands of a blob are, as its linker says: addresses of which data, places in the table of which function.

A blob that was linked with `--emit-relocs` says so for each operand that the linker filled in. What it says is compared
with the code before it is used: a relocation must lie on the operand of a fitting instruction, in the padded form that
linkers write, and the value there must be what symbol and addend give. Where one does not, a later tool changed the
blob, and nothing of what it says is used: the blob is then as good as one without relocations, and the reason is told.
One wrong relocation spoils all, because what they say by being absent, "this constant is no address", is worth as much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

from bacpack.split.shapes.table_entries import constant_offset, referenced_function
from bacpack.wasm import Kind, Module, SectionId
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_signed, decode_unsigned
from bacpack.wasm.relocations import (
    Linking,
    Relocation,
    RelocationKind,
    Symbol,
    SymbolFlags,
    SymbolKind,
    read_linking,
    read_relocations,
)
from bacpack.wasm.types import Body, Mode

R = RelocationKind
_U32 = 0xFFFF_FFFF
_PADDED = 5
#: Numbers for which a signed LEB of four bytes is enough: no compiler pads them, only a linker.
_FOUR_BYTES = range(-(1 << 27), 1 << 27)
_WORD = 4
_LOADS_AND_STORES = range(0x28, 0x3F)
_TABLE_GET, _TABLE_SET, _MISC = 0x25, 0x26, 0xFC
_CALLS = (scan.CALL, scan.RETURN_CALL)

#: What may stand right after a one-byte opcode.
_AFTER_OPCODE: dict[int, tuple[RelocationKind, ...]] = {
    scan.I32_CONST: (R.MEMORY_ADDR_SLEB, R.TABLE_INDEX_SLEB, R.MEMORY_ADDR_REL_SLEB, R.TABLE_INDEX_REL_SLEB),
    **dict.fromkeys((*_CALLS, scan.REF_FUNC), (R.FUNCTION_INDEX_LEB,)),
    **dict.fromkeys((scan.GLOBAL_GET, scan.GLOBAL_SET), (R.GLOBAL_INDEX_LEB,)),
    **dict.fromkeys((scan.CALL_INDIRECT, scan.RETURN_CALL_INDIRECT, 0x02, 0x03, 0x04, 0x06), (R.TYPE_INDEX_LEB,)),
    **dict.fromkeys((_TABLE_GET, _TABLE_SET), (R.TABLE_NUMBER_LEB,)),
    **dict.fromkeys((0x07, 0x08), (R.TAG_INDEX_LEB,)),
}
#: What may stand at the end of an instruction.
_AT_END: dict[int, tuple[RelocationKind, ...]] = {
    **dict.fromkeys((scan.CALL_INDIRECT, scan.RETURN_CALL_INDIRECT), (R.TABLE_NUMBER_LEB,)),
    **dict.fromkeys(_LOADS_AND_STORES, (R.MEMORY_ADDR_LEB,)),
}
#: The same for instructions of two numbers. A lane may follow the offset of a vector access.
_AT_END_PREFIXED = {
    _MISC: ((R.TABLE_NUMBER_LEB,), 1),
    0xFD: ((R.MEMORY_ADDR_LEB,), 2),
    0xFE: ((R.MEMORY_ADDR_LEB,), 1),
}

#: Relocations of indices, and what their symbols are.
_INDEXED = {
    R.FUNCTION_INDEX_LEB: SymbolKind.FUNCTION,
    R.GLOBAL_INDEX_LEB: SymbolKind.GLOBAL,
    R.TAG_INDEX_LEB: SymbolKind.TAG,
    R.TABLE_NUMBER_LEB: SymbolKind.TABLE,
}
_ADDRESSES = (R.MEMORY_ADDR_LEB, R.MEMORY_ADDR_SLEB, R.MEMORY_ADDR_I32, R.MEMORY_ADDR_REL_SLEB)
_TABLE_INDICES = (R.TABLE_INDEX_SLEB, R.TABLE_INDEX_I32, R.TABLE_INDEX_REL_SLEB)
#: Symbols from which addresses and places count; each is read from a global.
_BASES = {R.MEMORY_ADDR_REL_SLEB: "__memory_base", R.TABLE_INDEX_REL_SLEB: "__table_base"}


class Meaning(Enum):
    """What a number is."""

    #: The address of a data symbol, plus an addend.
    ADDRESS = "address"
    #: The place of a function in table 0.
    TABLE_INDEX = "table index"


@dataclass(slots=True)
class Operand:
    """A number that the linker filled in."""

    #: Where its bytes begin in the blob: five of a padded LEB in code, four in data.
    position: int
    meaning: Meaning
    #: A position in the symbol table.
    symbol: int
    addend: int = 0


@dataclass(slots=True)
class Code:
    """A function that the blob defines: everything it names."""

    #: Addresses and table indices, in the order of the code. All other constants are just numbers.
    operands: list[Operand] = field(default_factory=list)
    #: Functions that it calls directly or takes the reference of, one for each time.
    callees: list[int] = field(default_factory=list)
    #: Symbols whose address or table index it reads from a global.
    through_globals: list[int] = field(default_factory=list)


@dataclass(slots=True)
class RelocatedOperands:
    """What is known of a blob with relocations, all of it checked."""

    linking: Linking
    #: Of each symbol that is data its address, else None. An undefined weak one has the address 0.
    addresses: list[int | None]
    #: Functions by their place in table 0.
    table: dict[int, int]
    #: By position among the functions that the blob defines.
    functions: list[Code]
    #: Words of data, by position.
    data: list[Operand]


@dataclass(slots=True)
class NotRelocated:
    """A blob of which nothing more is known than of any: why."""

    reason: str


class _DisagreementError(Exception):
    """What relocations say is not what stands in the code."""


def read_relocated_operands(module: Module) -> RelocatedOperands | NotRelocated:
    """Return what the relocations of `module` say, or why they say nothing; raises `WasmError` for malformed ones."""
    linking = read_linking(module)
    if linking is None:
        return NotRelocated("it has no linking section")
    code, data = read_relocations(module, SectionId.CODE), read_relocations(module, SectionId.DATA)
    if not code:
        return NotRelocated("its code has no relocations: it was linked without --emit-relocs")
    try:
        _check_layout(module, linking)
        return _Checker(module, linking).check(code, data)
    except _DisagreementError as error:
        return NotRelocated(str(error))


def _check_layout(module: Module, linking: Linking) -> None:
    """Refuse what puts data elsewhere than where its segment says, or has other data than was linked."""
    if len(linking.segments) != len(module.data_segments):
        raise _DisagreementError(
            f"its linking section knows {len(linking.segments)} data segments, there are {len(module.data_segments)}"
        )
    if module.imported(Kind.MEMORY) or module.imported(Kind.TABLE) or any(entry.shared for entry in module.memories):
        raise _DisagreementError("its memory or table is not its own")
    end = 0
    for info, segment in zip(linking.segments, module.data_segments, strict=True):
        start = constant_offset(segment.offset)
        if segment.mode != Mode.ACTIVE or segment.memory or start is None or start < end:
            raise _DisagreementError("its data segments do not lie one after the other at known addresses")
        end = start + segment.end - segment.start
        if info.name.startswith(".bss") and module.data.count(0, segment.start, segment.end) != end - start:
            raise _DisagreementError(f"its data was changed after linking: segment {info.name} is not zero")


def table_entries(module: Module) -> dict[int, int]:
    """Functions by their place in table 0, as far as active segments at known places say."""
    found: dict[int, int] = {}
    for element in module.elements:
        start = constant_offset(element.offset)
        if element.mode != Mode.ACTIVE or element.table or start is None:
            continue
        entries: Iterable[int | None] = element.functions or map(referenced_function, element.expressions or ())
        found.update((place, index) for place, index in enumerate(entries, start) if index is not None)
    return found


class _Checker:
    def __init__(self, module: Module, linking: Linking) -> None:
        self._module = module
        self._data = module.data
        self._linking = linking
        self._addresses = [self._address(symbol) for symbol in linking.symbols]
        self._table = table_entries(module)
        self._absolute = {
            symbol.name: symbol.offset for symbol in linking.symbols if symbol.flags & SymbolFlags.ABSOLUTE
        }
        self._imported_globals = len(module.imported(Kind.GLOBAL))

    def _address(self, symbol: Symbol) -> int | None:
        if symbol.kind != SymbolKind.DATA:
            return None
        if symbol.index is None:
            return 0
        if symbol.flags & SymbolFlags.ABSOLUTE:
            return symbol.offset & _U32
        if symbol.index >= len(self._module.data_segments):
            raise _DisagreementError(f"symbol {symbol.name} is in segment {symbol.index}, which does not exist")
        segment = self._module.data_segments[symbol.index]
        if symbol.offset + symbol.size > segment.end - segment.start:
            raise _DisagreementError(f"symbol {symbol.name} goes beyond its segment")
        return (constant_offset(segment.offset) or 0) + symbol.offset

    def check(self, code: list[Relocation], data: list[Relocation]) -> RelocatedOperands:
        content = self._content(SectionId.CODE)
        code.sort(key=lambda relocation: relocation.offset)
        positions = [content + relocation.offset for relocation in code]
        if any(after - before < _PADDED for before, after in pairwise(positions)):
            raise _DisagreementError("two relocations are on one operand")
        functions = []
        used = 0
        for body in self._module.bodies:
            first, last = bisect_left(positions, body.start), bisect_left(positions, body.end)
            functions.append(self._function(body, code[first:last], positions[first:last]))
            used += last - first
        if used != len(code):
            raise _DisagreementError("a relocation lies between two functions")
        return RelocatedOperands(self._linking, self._addresses, self._table, functions, self._words(data))

    def _content(self, section_id: SectionId) -> int:
        section = self._module.section(section_id)
        return section.content if section else 0

    def _function(self, body: Body, relocations: list[Relocation], positions: list[int]) -> Code:
        position = scan.code_start(self._data, body.start, body.end)
        found = Code()
        next_, count = 0, len(relocations)
        bare_calls = long_constants = 0
        runs, opened = scan.scan(self._data, position, body.end)
        for run, instruction in zip(runs, opened, strict=False):
            at = position + len(run)
            position = at + len(instruction)
            opcode = instruction[0]
            before = next_
            while next_ < count and positions[next_] < position:
                self._take(found, relocations[next_], positions[next_], at, instruction)
                next_ += 1
            if opcode in _CALLS or opcode == scan.REF_FUNC:
                found.callees.append(decode_unsigned(instruction, 1)[0])
                bare_calls += next_ == before
            elif opcode == scan.I32_CONST and next_ == before:
                long_constants += 1
                if len(instruction) > _PADDED and decode_signed(instruction, 1)[0] in _FOUR_BYTES:
                    raise _DisagreementError(f"the constant at 0x{at:x} is padded, but has no relocation")
        if next_ != count:
            raise self._wrong(relocations[next_], positions[next_], "is on no operand")
        # The linker's own functions have none; they call, and that is all they do.
        if bare_calls and (count or long_constants):
            raise _DisagreementError(f"the function at 0x{body.start:x} calls without relocation: it is not as linked")
        return found

    def _take(self, found: Code, relocation: Relocation, position: int, at: int, instruction: bytes) -> None:
        """Check one relocation in code, and note what it says."""
        kind, operand = relocation.kind, position - at
        padded = instruction[operand : operand + _PADDED]
        fits = operand == 1 and kind in _AFTER_OPCODE.get(instruction[0], ())
        from_end = len(instruction) - operand
        if from_end == _PADDED:
            fits |= kind in _AT_END.get(instruction[0], ())
        if instruction[0] in _AT_END_PREFIXED:
            kinds, most = _AT_END_PREFIXED[instruction[0]]
            fits |= kind in kinds and _PADDED <= from_end < _PADDED + most
        if not fits or len(padded) < _PADDED or min(padded[:-1]) < 0x80 or padded[-1] >= 0x80:
            raise self._wrong(relocation, position, "is on no operand")
        if kind == R.TYPE_INDEX_LEB:
            self._same(relocation, position, decode_unsigned(padded)[0], relocation.index)
            return
        symbol = self._symbol(relocation, position)
        if instruction[0] == scan.I32_CONST:
            value = decode_signed(padded)[0] + self._base(kind) & _U32
        else:
            value = decode_unsigned(padded)[0]
        if kind == R.GLOBAL_INDEX_LEB and symbol.kind in (SymbolKind.DATA, SymbolKind.FUNCTION):
            self._check_global(relocation, position, value)
            found.through_globals.append(relocation.index)
        else:
            self._add(found.operands, relocation, position, value)

    def _add(self, operands: list[Operand], relocation: Relocation, position: int, value: int) -> None:
        """Check the value of an operand, and note it when it is an address or a table index."""
        symbol = self._symbol(relocation, position)
        if relocation.kind in _ADDRESSES:
            address = self._addresses[relocation.index]
            if address is None:
                raise self._wrong(relocation, position, "names no data")
            if symbol.index is not None:
                address += relocation.addend
                operands.append(Operand(position, Meaning.ADDRESS, relocation.index, relocation.addend))
            self._same(relocation, position, value, address & _U32)
        elif relocation.kind in _TABLE_INDICES:
            if symbol.kind != SymbolKind.FUNCTION:
                raise self._wrong(relocation, position, "names no function")
            if value:  # a weak function that nobody defined has no place in the table: its address is 0
                self._same(relocation, position, self._table.get(value), symbol.index)
                operands.append(Operand(position, Meaning.TABLE_INDEX, relocation.index))
        elif symbol.kind != _INDEXED.get(relocation.kind):
            raise self._wrong(relocation, position, "names a symbol of another kind")
        else:
            self._same(relocation, position, value, symbol.index)

    def _base(self, kind: RelocationKind) -> int:
        """From what a constant of this kind counts: code that could be in a library adds it at run time."""
        name = _BASES.get(kind)
        if name is None:
            return 0
        if name not in self._absolute:
            raise _DisagreementError(f"a relocation {kind.name} counts from {name}, which is not known")
        return self._absolute[name]

    def _check_global(self, relocation: Relocation, position: int, index: int) -> None:
        """Check a global that holds an address or a table index, as code reads it that could be in a library."""
        own = index - self._imported_globals
        if not 0 <= own < len(self._module.globals) or self._module.globals[own].type.mutable:
            raise self._wrong(relocation, position, "names no constant global")
        value = constant_offset(self._module.globals[own].init)
        symbol = self._linking.symbols[relocation.index]
        if symbol.kind == SymbolKind.DATA:
            self._same(relocation, position, value, self._addresses[relocation.index])
        elif value:
            self._same(relocation, position, self._table.get(value), symbol.index)

    def _words(self, relocations: list[Relocation]) -> list[Operand]:
        """Check the relocations of data."""
        content = self._content(SectionId.DATA)
        found: list[Operand] = []
        relocations.sort(key=lambda relocation: relocation.offset)
        ends = [segment.end for segment in self._module.data_segments]
        last = 0
        for relocation in relocations:
            position = content + relocation.offset
            segment = bisect_left(ends, position + _WORD)
            if segment == len(ends) or position < max(last, self._module.data_segments[segment].start):
                raise self._wrong(relocation, position, "is on no word of data")
            if relocation.kind not in (R.MEMORY_ADDR_I32, R.TABLE_INDEX_I32):
                raise self._wrong(relocation, position, "is of a kind that is not supported in data")
            last = position + _WORD
            self._add(found, relocation, position, int.from_bytes(self._data[position:last], "little"))
        return found

    def _symbol(self, relocation: Relocation, position: int) -> Symbol:
        if relocation.index >= len(self._linking.symbols):
            raise self._wrong(relocation, position, "names no symbol")
        return self._linking.symbols[relocation.index]

    def _same(self, relocation: Relocation, position: int, found: int | None, said: int | None) -> None:
        if found is None or found != said:
            raise self._wrong(relocation, position, f"says {said} where there is {found}")

    def _wrong(self, relocation: Relocation, position: int, what: str) -> _DisagreementError:
        return _DisagreementError(f"the relocation {relocation.kind.name} at 0x{position:x} {what}")
