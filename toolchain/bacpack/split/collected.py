"""A blob without what `collect` found to be dead.

Dead functions go, with their imports, and the others are numbered anew. Places in the table stay: a dead one is null.
Addresses stay too: dead data is left out of the segments, so that its memory is zero.

All numbers in code keep their length, padded where they become smaller. So a function's code is the same but for the
functions it names, and relocations move with it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bacpack.split.collect import Live
from bacpack.split.elements import constant_offset, is_placeable, referenced_function
from bacpack.split.exact import Exact
from bacpack.split.image import PAGE_BYTES
from bacpack.split.remainder import is_dropped
from bacpack.wasm import Kind, Module, SectionId, writer
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb import decode_unsigned, encode_unsigned
from bacpack.wasm.names import name_section, read_names
from bacpack.wasm.reader import Reader
from bacpack.wasm.relocation_writer import linking_section, relocation_section
from bacpack.wasm.relocations import (
    InitFunction,
    Linking,
    Relocation,
    RelocationKind,
    SegmentInfo,
    Symbol,
    SymbolFlags,
    SymbolKind,
    read_relocations,
)
from bacpack.wasm.types import Body, Data, Element, Global, Import, Mode, Section, Table

_NAMING = (scan.CALL, scan.RETURN_CALL, scan.REF_FUNC)
#: What it takes to begin another data segment: shorter gaps of zeros are written.
_LARGEST_GAP = 12
_NOT_ZERO = re.compile(rb"[^\0](?:\0{0,%d}+[^\0])*+" % _LARGEST_GAP)


@dataclass(slots=True)
class _Piece:
    """Data of the collected blob: of segment `segment` of the blob, from `start` to `end` in the blob's bytes."""

    segment: int
    data: Data
    start: int
    end: int
    content: bytes


def write_collected(module: Module, live: Live, known: Exact | None = None) -> bytes:
    """Return the blob without what is dead; with `known`, also with the relocations of what is left.

    Without relocations, zeros are left out of data where memory is zero anyway.
    """
    return _Writer(module, live, known).write()


class _Writer:
    def __init__(self, module: Module, live: Live, known: Exact | None) -> None:
        self._module = module
        self._live = live
        self._known = known
        self._imported = len(module.imported(Kind.FUNCTION))
        self._numbers = {old: new for new, old in enumerate(sorted(live.functions))}
        #: Where each live function's code begins and ends in the blob, and by how much it moves within the section.
        self._moved: list[tuple[Body, int]] = []
        self._pieces: list[_Piece] = []

    def write(self) -> bytes:
        module = self._module
        bodies = [body for index, body in enumerate(module.bodies, self._imported) if index in self._numbers]
        types = [type_ for index, type_ in enumerate(module.functions, self._imported) if index in self._numbers]
        imports = list(self._imports())
        elements = [part for element in module.elements for part in self._element(element)]
        self._pieces = list(self._data())
        changed: dict[SectionId, bytes | None] = {
            SectionId.IMPORT: writer.vector(map(writer.import_, imports)) if imports else None,
            SectionId.FUNCTION: writer.vector(map(encode_unsigned, types)) if types else None,
            SectionId.ELEMENT: writer.vector(map(writer.element, elements)) if elements else None,
            SectionId.CODE: self._code(bodies) if bodies else None,
            SectionId.DATA: self._data_section() if self._pieces else None,
            SectionId.TABLE: self._tables(),
            SectionId.GLOBAL: self._globals(),
        }
        if module.exports:
            exports = (
                replace(entry, index=self._numbers[entry.index]) if entry.kind == Kind.FUNCTION else entry
                for entry in module.exports
            )
            changed[SectionId.EXPORT] = writer.vector(map(writer.export, exports))
        if module.start is not None:
            changed[SectionId.START] = encode_unsigned(self._numbers[module.start])
        if module.section(SectionId.DATA_COUNT):
            changed[SectionId.DATA_COUNT] = encode_unsigned(len(self._pieces))
        sections = [section for section in module.sections if not is_dropped(section)]
        out = writer.rewrite(Module(module.data, sections), changed) + self._names()
        return out + self._relocations(Module.parse(out)) if self._known else out

    def _imports(self) -> Iterator[Import]:
        function = 0
        for entry in self._module.imports:
            if entry.kind == Kind.FUNCTION:
                function += 1
                if function - 1 not in self._numbers:
                    continue
            yield entry

    def _tables(self) -> bytes | None:
        def renumbered(entry: Table) -> Table:
            return replace(entry, init=entry.init and self._expression(entry.init))

        tables = [writer.table(renumbered(entry)) for entry in self._module.tables]
        return writer.vector(tables) if tables else None

    def _globals(self) -> bytes | None:
        entries = [writer.global_(Global(entry.type, self._expression(entry.init))) for entry in self._module.globals]
        return writer.vector(entries) if entries else None

    def _expression(self, expression: bytes) -> bytes:
        """A constant expression, the functions in it numbered anew."""
        reader, out = Reader(expression), b""
        while reader.remaining:
            at = reader.position
            row, values = reader.instruction()
            names = row.name == "ref.func"
            out += (
                row.encoding + encode_unsigned(self._numbers[values[0]]) if names else expression[at : reader.position]
            )
        return out

    def _element(self, element: Element) -> Iterator[Element]:
        """A segment in as many parts as there are runs of live entries."""
        table, start = self._live.table, constant_offset(element.offset)
        keep: Sequence[bool] = [True] * len(element)
        if table is not None and start is not None and is_placeable(self._module, element):
            keep = [place in table for place in range(start, start + len(element))]
            if element.expressions is not None:  # what is null already needs no entry
                keep = [
                    live and referenced_function(entry) is not None
                    for live, entry in zip(keep, element.expressions, strict=True)
                ]
        elif not len(element):
            yield self._renumbered(element, 0, 0, element.offset and self._expression(element.offset))
            return
        at = 0
        while at < len(keep):
            end = at
            while end < len(keep) and keep[end]:
                end += 1
            if end - at == len(keep):
                yield self._renumbered(element, at, end, element.offset and self._expression(element.offset))
            elif end > at:
                yield self._renumbered(element, at, end, writer.i32_const((start or 0) + at) + writer.END)
            at = end + 1

    def _renumbered(self, element: Element, start: int, end: int, offset: bytes | None) -> Element:
        functions, expressions = element.functions, element.expressions
        return replace(
            element,
            offset=offset,
            functions=None if functions is None else [self._numbers[index] for index in functions[start:end]],
            expressions=None if expressions is None else [self._expression(entry) for entry in expressions[start:end]],
        )

    def _code(self, bodies: list[Body]) -> bytes:
        count = encode_unsigned(len(bodies))
        parts, at = [count], len(count)
        section = self._module.section(SectionId.CODE)
        content = section.content if section else 0
        for body in bodies:
            code = self._body(body)
            size = encode_unsigned(len(code))
            parts += size, code
            at += len(size)
            self._moved.append((body, at - (body.start - content)))
            at += len(code)
        return b"".join(parts)

    def _body(self, body: Body) -> bytes:
        """The code of a function, each function in it numbered anew in as many bytes as before."""
        data = self._module.data
        position = scan.code_start(data, body.start, body.end)
        out = [data[body.start : position]]
        for run, instruction in zip(*self._scanned(position, body.end), strict=True):
            out.append(run)
            if instruction and instruction[0] in _NAMING:
                index = self._numbers[decode_unsigned(instruction, 1)[0]]
                out.append(instruction[:1] + _padded(index, len(instruction) - 1))
            else:
                out.append(instruction)
        return b"".join(out)

    def _scanned(self, start: int, end: int) -> tuple[list[bytes], list[bytes]]:
        runs, opened = scan.scan(self._module.data, start, end)
        return runs, [*opened, b""]

    def _data_section(self) -> bytes:
        return writer.vector(writer.data_segment(piece.data, piece.content) for piece in self._pieces)

    def _data(self) -> Iterator[_Piece]:
        """The data segments, each in as many parts as there are runs of live data."""
        module = self._module
        ranges = self._live.data
        if not self._is_data_plain():
            for number, data in enumerate(module.data_segments):
                offset = data.offset and self._expression(data.offset)
                content = module.data[data.start : data.end]
                yield _Piece(number, replace(data, offset=offset), data.start, data.end, content)
            return
        for number, data in enumerate(module.data_segments):
            address = constant_offset(data.offset) or 0
            content = module.data[data.start : data.end]
            if ranges is not None:
                content = _masked(content, _shifted(ranges, address, len(content)))
            for start, end in self._runs(content, address):
                part = replace(data, offset=writer.i32_const(address + start) + writer.END)
                yield _Piece(number, part, data.start + start, data.start + end, content[start:end])

    def _is_data_plain(self) -> bool:
        """Whether parts of segments may be left out: they are one after the other, and all certainly fit."""
        module, end = self._module, 0
        if self._live.names_segments or module.imported(Kind.MEMORY):
            return False
        for data in module.data_segments:
            start = constant_offset(data.offset)
            if data.mode != Mode.ACTIVE or data.memory or start is None or start < end:
                return False
            end = start + data.end - data.start
        return end <= (module.memories[0].minimum * PAGE_BYTES if module.memories else 0)

    def _runs(self, content: bytes, address: int) -> Iterator[tuple[int, int]]:
        """The parts of a segment that are written: symbols stay whole where relocations name them."""
        if self._known is None:
            yield from (found.span() for found in _NOT_ZERO.finditer(content))
            return
        ranges = self._live.data
        start = end = 0
        for low, high in _shifted(ranges, address, len(content)) if ranges is not None else [(0, len(content))]:
            if low - end > _LARGEST_GAP or start == end:
                if start < end:
                    yield start, end
                start = low
            end = high
        if start < end:
            yield start, end

    def _names(self) -> bytes:
        module_name, functions = read_names(self._module)
        if module_name is None and not functions:
            return b""
        known = {self._numbers[index]: name for index, name in functions.items() if index in self._numbers}
        return name_section(module_name, known)

    def _relocations(self, written: Module) -> bytes:
        """The linking section and the relocations of what is left; `written` is the collected blob without them."""
        if self._known is None:
            return b""
        symbols: list[Symbol] = []
        numbers: dict[int, int] = {}
        for old, symbol in enumerate(self._known.linking.symbols):
            moved = self._symbol(symbol)
            if moved is not None:
                numbers[old] = len(symbols)
                symbols.append(moved)
        linking = Linking(symbols, [self._segment_info(piece) for piece in self._pieces])
        linking.init_functions = [
            InitFunction(entry.priority, numbers[entry.symbol])
            for entry in self._known.linking.init_functions
            if entry.symbol in numbers
        ]
        out = linking_section(linking)
        for section_id in (SectionId.CODE, SectionId.DATA):
            section = written.section(section_id)
            moved_entries = list(self._moved_relocations(section_id, written, numbers))
            if section is not None and moved_entries:
                out += relocation_section(section_id.name, written.sections.index(section), moved_entries)
        return out

    def _segment_info(self, piece: _Piece) -> SegmentInfo:
        assert self._known is not None
        return self._known.linking.segments[piece.segment]

    def _symbol(self, symbol: Symbol) -> Symbol | None:
        """A symbol as it is in the collected blob, None when what it stands for is gone."""
        if symbol.kind == SymbolKind.FUNCTION:
            index = self._numbers.get(symbol.index or 0)
            return None if index is None else replace(symbol, index=index)
        if symbol.kind == SymbolKind.SECTION:
            return None
        if symbol.kind != SymbolKind.DATA or symbol.index is None or symbol.flags & SymbolFlags.ABSOLUTE:
            return symbol
        start = self._module.data_segments[symbol.index].start + symbol.offset
        for number, piece in enumerate(self._pieces):
            if piece.segment == symbol.index and piece.start <= start and start + symbol.size <= piece.end:
                return replace(symbol, index=number, offset=start - piece.start)
        return None

    def _moved_relocations(
        self, section_id: SectionId, written: Module, numbers: dict[int, int]
    ) -> Iterator[Relocation]:
        section, new_section = self._module.section(section_id), written.section(section_id)
        if section is None or new_section is None:
            return
        if section_id == SectionId.CODE:
            places = [(body.start, body.end, shift) for body, shift in self._moved]
        else:
            places = [
                (piece.start, piece.end, data.start - new_section.content - (piece.start - section.content))
                for piece, data in zip(self._pieces, written.data_segments, strict=True)
            ]
        starts = [start for start, _, _ in places]
        for entry in read_relocations(self._module, section_id):
            at = bisect_right(starts, section.content + entry.offset) - 1
            if at < 0 or section.content + entry.offset >= places[at][1]:
                continue
            index = entry.index if entry.kind == RelocationKind.TYPE_INDEX_LEB else numbers.get(entry.index)
            if index is not None and (section_id == SectionId.CODE or self._is_read(section, entry, places[at][0])):
                yield replace(entry, offset=entry.offset + places[at][2], index=index)

    def _is_read(self, section: Section, entry: Relocation, start: int) -> bool:
        """Whether a word of data is live, and not just zeros between what is."""
        if self._live.data is None:
            return True
        piece = next(piece for piece in self._pieces if piece.start == start)
        address = (constant_offset(piece.data.offset) or 0) + section.content + entry.offset - start
        at = bisect_right(self._live.data, (address, 1 << 32)) - 1
        return at >= 0 and address < self._live.data[at][1]


def _padded(value: int, size: int) -> bytes:
    """`value` as an unsigned LEB of `size` bytes."""
    return bytes(value >> 7 * place & 0x7F | 0x80 for place in range(size - 1)) + bytes([value >> 7 * (size - 1)])


def _shifted(ranges: list[tuple[int, int]], address: int, size: int) -> list[tuple[int, int]]:
    """The parts of `ranges` within a segment, counted from where it begins."""
    shifted = [(max(low - address, 0), min(high - address, size)) for low, high in ranges]
    return [(low, high) for low, high in shifted if low < high]


def _masked(content: bytes, ranges: list[tuple[int, int]]) -> bytes:
    """`content` with zeros outside of `ranges`."""
    out = bytearray(len(content))
    for start, end in ranges:
        out[start:end] = content[start:end]
    return bytes(out)
