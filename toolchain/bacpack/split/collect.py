"""What of a blob can be reached: functions, entries of its table, bytes of its data. The rest is dead.

With relocations this is what `wasm-ld --gc-sections` would keep: from exports and the start function on, a function
reaches what it calls and the symbols it names, data reaches the symbols that its words name, and a function that is in
the table is reached by those who name its place there. Without, every constant may be an address or a place in the
table: then all data and all of the table is live, and only functions that nothing names are dead.

A host can call any entry of a table that is exported: then all are live. It can read all memory that is exported too;
but as for linkers, of data only exported symbols are live for that.

So a collected blob behaves as before unless the program reads beyond its own data, or calls through a pointer that it
made up: what it finds there is what a linker may change as well. Without relocations there is no such exception.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bacpack.split.elements import constant_offset, element_functions, is_placeable, referenced_functions
from bacpack.split.exact import Code, Exact, Inexact, Meaning, table_entries, uses_tables_or_segments
from bacpack.wasm import Kind, Module, WasmError
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb import decode_unsigned
from bacpack.wasm.relocations import SegmentFlags, Symbol, SymbolFlags, SymbolKind
from bacpack.wasm.types import Body

_WORD = 4
_NAMING = (scan.CALL, scan.RETURN_CALL, scan.REF_FUNC)
#: It lies where data begins, and only tells one library from another: nobody reads there.
_HANDLES = frozenset(("__dso_handle",))


@dataclass(slots=True)
class Live:
    """What is reached."""

    #: Indices, imported functions included.
    functions: set[int]
    #: Places in table 0 that may be called; None when any may.
    table: set[int] | None
    #: Addresses of static data that may be read, as (start, end), ascending and disjoint; None when any may.
    data: list[tuple[int, int]] | None
    #: Whether code names data or element segments, whose numbers and contents must then stay as they are.
    names_segments: bool


def collect(module: Module, known: Exact | Inexact) -> Live:
    """Return what of `module` is reached; raises `WasmError` when its code is malformed."""
    if isinstance(known, Exact):
        codes = known.functions
        names_segments = any(code.uses_tables_or_segments for code in codes)
        return _Collector(module, codes, known, names_segments).run()
    codes = [_code(module, body) for body in module.bodies]
    return _Collector(module, codes, None, any(code.uses_tables_or_segments for code in codes)).run()


def _code(module: Module, body: Body) -> Code:
    """What the code of any blob says of itself."""
    found = Code()
    start = scan.code_start(module.data, body.start, body.end)
    for instruction in scan.scan(module.data, start, body.end)[1]:
        if instruction[0] in _NAMING:
            found.callees.append(decode_unsigned(instruction, 1)[0])
        elif uses_tables_or_segments(instruction):
            found.uses_tables_or_segments = True
    return found


class _Collector:
    def __init__(self, module: Module, codes: list[Code], known: Exact | None, names_segments: bool) -> None:
        self._module = module
        self._codes = codes
        self._known = known
        self._names_segments = names_segments
        self._imported = len(module.imported(Kind.FUNCTION))
        self._functions: set[int] = set()
        self._waiting: list[int] = []
        self._waiting_data: list[tuple[int, int]] = []
        self._places: dict[int, list[int]] = {}
        for place, index in table_entries(module).items():
            self._places.setdefault(index, []).append(place)
        self._table: set[int] = set()
        self._symbols: set[int] = set()
        self._ranges: list[tuple[int, int]] = []
        self._words = {word.position: word for word in known.data} if known else {}
        self._word_positions = sorted(self._words)

    def run(self) -> Live:
        module = self._module
        self._reach(entry.index for entry in module.exports if entry.kind == Kind.FUNCTION)
        if module.start is not None:
            self._reach([module.start])
        expressions = [entry.init for entry in module.globals]
        expressions += [entry.init for entry in module.tables if entry.init]
        expressions += [entry.offset for entry in module.elements if entry.offset]
        expressions += [entry.offset for entry in module.data_segments if entry.offset]
        for expression in expressions:
            self._reach(referenced_functions(expression))
        whole_table = self._known is None or self._names_segments or self._is_table_shared()
        for element in module.elements:
            if whole_table or not is_placeable(module, element):
                self._reach(element_functions(element))
        if self._known is None:
            # An import stays even when nobody calls it: without it, the blob could run where it did not.
            self._reach(range(self._imported))
        else:
            self._reach_kept(self._known)
        self._follow()
        data = None if self._known is None or self._names_segments else _joined(self._ranges)
        return Live(self._functions, None if whole_table else self._table, data, self._names_segments)

    def _is_table_shared(self) -> bool:
        tables = self._module.tables
        exported = any(entry.kind == Kind.TABLE for entry in self._module.exports)
        return exported or bool(self._module.imported(Kind.TABLE)) or any(entry.init for entry in tables)

    def _reach(self, functions: Iterable[int]) -> None:
        for index in functions:
            if index >= self._imported + len(self._codes):
                raise WasmError("wasm-malformed", f"function {index} does not exist", 0)
            if index not in self._functions:
                self._functions.add(index)
                self._waiting.append(index)

    def _reach_kept(self, known: Exact) -> None:
        """What must stay whatever names it: symbols and segments so marked, and data that has no symbol at all."""
        for position, symbol in enumerate(known.linking.symbols):
            if symbol.is_kept:
                self._reach_symbol(known, position)
        for address in self._exported_constants():
            for position, (symbol, start) in enumerate(zip(known.linking.symbols, known.addresses, strict=True)):
                if start is not None and start <= address < start + max(symbol.size, 1):
                    self._reach_symbol(known, position)
        for info, segment in zip(known.linking.segments, self._module.data_segments, strict=True):
            if info.flags & (SegmentFlags.RETAIN | SegmentFlags.TLS):
                start = constant_offset(segment.offset) or 0
                self._waiting_data.append((start, start + segment.end - segment.start))
        self._waiting_data += self._without_symbol(known)

    def _exported_constants(self) -> Iterator[int]:
        """Values of exported globals: `--export` of data gives one that holds the address, and marks no symbol."""
        imported = len(self._module.imported(Kind.GLOBAL))
        for entry in self._module.exports:
            if entry.kind == Kind.GLOBAL and imported <= entry.index < imported + len(self._module.globals):
                value = constant_offset(self._module.globals[entry.index - imported].init)
                if value is not None:
                    yield value

    def _without_symbol(self, known: Exact) -> Iterator[tuple[int, int]]:
        """Data outside all symbols that is more than zeros between two of them."""
        symbols = zip(known.linking.symbols, known.addresses, strict=True)
        covered = _joined(
            (address, address + symbol.size)
            for symbol, address in symbols
            if address is not None and symbol.index is not None and not symbol.flags & SymbolFlags.ABSOLUTE
        )
        for segment in self._module.data_segments:
            start = constant_offset(segment.offset) or 0
            end = start + segment.end - segment.start
            at = start
            for low, high in [*_within(covered, start, end), (end, end)]:
                if any(self._module.data[segment.start + at - start : segment.start + low - start]):
                    yield at, low
                at = high

    def _follow(self) -> None:
        while self._waiting or self._waiting_data:
            while self._waiting_data and self._known:
                self._follow_data(self._known, *self._waiting_data.pop())
            if self._waiting:
                self._follow_code(self._waiting.pop() - self._imported)

    def _follow_code(self, position: int) -> None:
        if position < 0:
            return  # imported
        code = self._codes[position]
        self._reach(code.callees)
        if self._known is None:
            return
        for operand in code.operands:
            self._reach_operand(self._known, operand.symbol, operand.meaning)
        for symbol in code.through_globals:
            is_data = self._known.linking.symbols[symbol].kind == SymbolKind.DATA
            self._reach_operand(self._known, symbol, Meaning.ADDRESS if is_data else Meaning.TABLE_INDEX)

    def _reach_operand(self, known: Exact, symbol: int, meaning: Meaning) -> None:
        if meaning == Meaning.TABLE_INDEX:
            # Its symbol may be of a function around it, which the linker exports: the table has the last word.
            self._table.update(self._places.get(known.linking.symbols[symbol].index or 0, ()))
        self._reach_symbol(known, symbol)

    def _reach_symbol(self, known: Exact, position: int) -> None:
        if position in self._symbols:
            return
        self._symbols.add(position)
        symbol, address = known.linking.symbols[position], known.addresses[position]
        if symbol.kind == SymbolKind.FUNCTION and symbol.index is not None:
            self._reach([symbol.index])
        elif address is not None and symbol.index is not None:
            self._waiting_data.append(self._extent(symbol, address))

    def _extent(self, symbol: Symbol, address: int) -> tuple[int, int]:
        """The data that a symbol stands for: all of its segment when it only marks a place in there."""
        if symbol.size and not symbol.flags & SymbolFlags.ABSOLUTE:
            return address, address + symbol.size
        for segment in self._module.data_segments:
            start = constant_offset(segment.offset) or 0
            end = start + segment.end - segment.start
            if start <= address < end and symbol.name not in _HANDLES:
                return start, end
        return address, address

    def _follow_data(self, known: Exact, start: int, end: int) -> None:
        """Take data as read, and with it what its words name."""
        self._ranges.append((start, end))
        for segment in self._module.data_segments:
            first = constant_offset(segment.offset) or 0
            low, high = max(start, first), min(end, first + segment.end - segment.start)
            if low >= high:
                continue
            shift = segment.start - first
            # A word that is only partly inside counts as well.
            at = bisect_left(self._word_positions, low + shift - _WORD + 1)
            while at < len(self._word_positions) and self._word_positions[at] < high + shift:
                word = self._words[self._word_positions[at]]
                self._ranges.append((word.position - shift, word.position - shift + _WORD))
                self._reach_operand(known, word.symbol, word.meaning)
                at += 1


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in ascending order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif start < end:
            found.append((start, end))
    return found


def _within(ranges: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of `ranges` between `start` and `end`."""
    for low, high in ranges:
        if low < end and high > start:
            yield max(low, start), min(high, end)
