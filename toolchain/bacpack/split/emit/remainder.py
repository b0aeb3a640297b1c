"""Fifth stage, third part: the remainder, what is left of a blob once its shared functions live elsewhere.

It keeps the blob's types, imports, exports, names, data and own functions. Memory, table and the globals that shared
functions use come from the environment; the start function (see `start_function`) brings everything to the state that
the blob declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from bacpack import __version__
from bacpack.split.abi.data_module import LOAD_DATA
from bacpack.split.abi.environment import import_load, import_memory, import_register, import_table
from bacpack.split.abi.shared_module import LATE_TABLE, PLACE, slot_setters
from bacpack.split.abi.words import WORD_BYTES, WORDS_TYPE
from bacpack.split.data.image import Image
from bacpack.split.data.pieces import DataPlan
from bacpack.split.data.remaining import own_data
from bacpack.split.emit import start_function
from bacpack.split.emit.renumbering import Instructions, Numbers, extended
from bacpack.split.emit.shared_module import Shared
from bacpack.split.input.custom_sections import is_dropped
from bacpack.split.plan.demand import Demand
from bacpack.split.plan.resolution import Plan
from bacpack.split.plan.slots import Slot
from bacpack.split.plan.table_placement import left_over
from bacpack.split.shapes.fingerprint import Blob
from bacpack.split.shapes.open_instructions import Cut, cut_as_written
from bacpack.split.shapes.table_entries import is_table_plain, referenced_function, segment_entries
from bacpack.wasm import FuncType, Import, Kind, Limits, Module, SectionId, TableType, writer
from bacpack.wasm import scanner as scan
from bacpack.wasm.custom_sections import PRODUCERS_SECTION, name_section, processed_by, read_names
from bacpack.wasm.instructions import NO_LOCALS, op
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.limits import MAX_FUNCTION_BYTES
from bacpack.wasm.types import FUNCREF, I32, Data, Element, Global, Mode

_NOTHING = FuncType((), ())
_PASSIVE = Data(Mode.PASSIVE, 0, None, 0, 0)
_ONE_PAGE = Limits(1)


@dataclass(frozen=True, slots=True)
class SharedData:
    """A data module as a remainder sees it."""

    plan: DataPlan
    namespace: str


def write_remainder(
    plan: Plan,
    position: int,
    blob: Blob,
    demand: Demand,
    shared: Sequence[Shared],
    environment: str,
    image: Image | None = None,
    data: Sequence[SharedData] = (),
    scratch: int = 0,
) -> bytes:
    """Return the bytes of the remainder of `blob`, the one at `position` in `plan`; `environment` is a namespace.

    `image` is what the blob's data segments describe, if anything may write it, and `data` are all data modules, whose
    words may lie at `scratch`.
    """
    used = [entry for entry in data if entry.plan.is_used_by(position)]
    written = chain.from_iterable(entry.plan.written(position) for entry in used)
    own = own_data(image, written) if image else None
    return _RemainderWriter(plan, position, blob, demand, shared).write(environment, own, used, scratch)


class _RemainderWriter:
    def __init__(self, plan: Plan, position: int, blob: Blob, demand: Demand, shared: Sequence[Shared]) -> None:
        self._position = position
        self._module = blob.module
        self._blob = blob
        self._demand = demand
        self._shared = shared
        self._locations = plan.locations[position]
        used = 0
        for index in self._locations:
            used |= blob.functions[index - blob.imported_functions].registers
        #: The globals that shared functions use, by index: they live in registers.
        self._registers = {index: number for index, number in blob.registers.items() if used >> number & 1}
        self._numbers = Numbers(blob, list(self._registers))
        self._instructions = Instructions(self._numbers)
        self._elements: list[Element] = []
        self._is_table_plain = is_table_plain(blob.module)

    def write(
        self, environment: str, own: Sequence[tuple[int, bytes]] | None, shared_data: Sequence[SharedData], scratch: int
    ) -> bytes:
        """`own` is what to write beside what data modules do, whose words may lie at `scratch`; None for all data."""
        module, numbers = self._module, self._numbers
        self._import_environment(environment)
        set_up = self._import_shared()
        load_data = [self._load_data(entry) for entry in shared_data]
        words = b"".join(entry.words for entry in [*set_up, *load_data])
        for_words = b""
        if words and not numbers.has_memory:
            numbers.add_import(import_memory(environment))
            for_words = start_function.grow_memory(_ONE_PAGE)
        for index in self._demand.kept:
            numbers.define(index)
        for index in self._demand.forwarded_hosts:
            numbers.forward_host(index)
        for index in self._demand.forwarded:
            numbers.forward(index)
        first = self._blob.imported_functions
        codes = [self._code(index - first) for index in self._demand.kept]
        segment = len(module.data_segments) if own is None else 0
        # Only now: what a table grows with may be a function, which has its number from here on.
        steps = [self._grow(), for_words, *start_function.hand_over(set_up, 0, segment, 0)]
        steps += chain(self._fill_late_tables(), self._fill_table())
        steps += start_function.hand_over(load_data, scratch, segment, sum(len(entry.words) for entry in set_up))
        data, data_steps = self._data(words) if own is None else self._own_data(words, own)
        first_function = self._add_start([*steps, *data_steps])
        if numbers.declared:
            self._elements.append(Element(Mode.DECLARATIVE, 0, None, FUNCREF, sorted(numbers.declared), None))
        return self._rewritten([*codes, *(code for _, code in numbers.added)], data, first_function)

    def _rewritten(self, codes: Sequence[bytes], data: Sequence[bytes], start: int) -> bytes:
        """The blob with these functions, segments of data and start function, and with what was imported and added."""
        module, numbers = self._module, self._numbers
        function_types = [module.function_types[index] for index in self._demand.kept]
        function_types += [type_ for type_, _ in numbers.added]
        globals_ = [
            writer.global_(Global(entry.type, self._expression(entry.init)))
            for index, entry in enumerate(module.globals, len(module.imported(Kind.GLOBAL)))
            if index not in self._registers
        ]
        tables = [
            writer.table(replace(entry, init=entry.init and self._expression(entry.init)))
            for entry in module.tables[numbers.has_table :]
        ]
        memories = [writer.limits(entry) for entry in module.memories[numbers.has_memory :]]
        changed: dict[SectionId, bytes | None] = {
            SectionId.TYPE: numbers.types.section(),
            SectionId.IMPORT: extended(module, SectionId.IMPORT, map(writer.import_, numbers.imports)),
            SectionId.FUNCTION: writer.vector(map(encode_unsigned, function_types)),
            SectionId.TABLE: writer.vector(tables) if tables else None,
            SectionId.MEMORY: writer.vector(memories) if memories else None,
            SectionId.GLOBAL: writer.vector(globals_) if globals_ else None,
            SectionId.EXPORT: writer.vector(writer.export(numbers.export(entry)) for entry in module.exports),
            SectionId.START: encode_unsigned(start),
            SectionId.ELEMENT: writer.vector(map(writer.element, self._elements)) if self._elements else None,
            SectionId.DATA_COUNT: encode_unsigned(len(data)) if data else None,
            SectionId.CODE: writer.vector(map(writer.sized, codes)),
            SectionId.DATA: writer.vector(data) if data else None,
        }
        kept = [section for section in module.sections if not is_dropped(section) and section.name != PRODUCERS_SECTION]
        rewritten = writer.rewrite(Module(module.data, kept), changed)
        return rewritten + self._names() + processed_by(module, "bacpack", __version__)

    def _add_start(self, steps: Sequence[bytes]) -> int:
        """Add the start function, which then calls that of the blob, and those that do what is too much for one.

        What grows memory comes first, so it is in the start function itself: hosts know it there when it is refused.
        """
        numbers, own = self._numbers, self._module.start
        type_ = numbers.types[_NOTHING]
        first, *rest = start_function.parts(steps)
        calls = [op("call", numbers.add_function(type_, NO_LOCALS + part + op("end"))) for part in rest]
        if own is not None:
            calls.append(op("call", numbers.function(own)))
        return numbers.add_function(type_, NO_LOCALS + first + b"".join(calls) + op("end"))

    def _import_environment(self, namespace: str) -> None:
        numbers = self._numbers
        numbers.add_import(import_load(namespace, numbers.types[_NOTHING]))
        if numbers.has_memory:
            numbers.add_import(import_memory(namespace))
        if numbers.has_table:
            numbers.add_import(import_table(namespace))
        for register in self._registers.values():
            numbers.add_import(import_register(namespace, register))

    def _import_shared(self) -> list[start_function.HandOver]:
        """Import what the shared modules provide; return the calls that set them up."""
        numbers, demand = self._numbers, self._demand
        self._functions: dict[int, int] = {}
        self._late_tables: dict[int, int] = {}
        self._placed_singly: dict[int, list[tuple[int, int]]] = {}
        used = sorted({number for number, _ in self._locations.values()})
        calls = [call for number in used for call in self._set_up(number)]
        sources = {number for number, _ in demand.called.values()}
        sources |= {number for number, places in self._placed_singly.items() if places}
        sources |= {location[0] for number in self._late_tables for _, location in self._late_locations(number)}
        for number in sorted(sources):
            self._functions[number] = numbers.add_import(self._shared[number].import_functions())
        for index, (number, position) in demand.called.items():
            numbers.provide(index, self._functions[number], position)
        return calls

    def _set_up(self, number: int) -> Iterator[start_function.HandOver]:
        """Import what sets up a module: the calls that set its slots, and those that place its functions."""
        module, numbers = self._shared[number], self._numbers
        late = module.plan.late
        for count, (name, slots) in enumerate(slot_setters(module.plan.slots)):
            is_set = any(self._position in slot.values for slot in slots)
            # One function is imported of every module: some hosts load no other.
            if is_set or count == 0:
                setter = numbers.import_function(module.namespace, name, WORDS_TYPE)
            if is_set:
                yield start_function.HandOver(setter, b"".join(_word(slot, self._position) for slot in slots))
        for count, placer in enumerate(module.placers):
            indices = [run.starts.get(self._position, 0) for run in placer]
            if any(indices):
                place = numbers.import_function(module.namespace, f"{PLACE}{count}", WORDS_TYPE)
                yield start_function.HandOver(place, _words(indices))
        placed = [(index, location[1]) for index, location in self._demand.placed if location[0] == number]
        self._placed_singly[number] = left_over(module.placers, self._position, placed)
        if any(self._position in entry for entry in late):
            table = TableType(FUNCREF, Limits(len(late), len(late)))
            self._late_tables[number] = numbers.add_import(Import(module.namespace, LATE_TABLE, Kind.TABLE, table))

    def _grow(self) -> bytes:
        module, numbers = self._module, self._numbers
        out = start_function.grow_memory(module.memories[0]) if numbers.has_memory else b""
        if numbers.has_table:
            table = module.tables[0]
            out += start_function.grow_table(table.type, table.init and self._expression(table.init))
        imported = len(module.imported(Kind.GLOBAL))
        for index in self._registers:
            init = self._expression(module.globals[index - imported].init)
            out += start_function.set_global(numbers.global_(index), init)
        return out

    def _late_locations(self, number: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """The entries of a module's private table that are copied from those of other modules."""
        for place, callees in enumerate(self._shared[number].plan.late):
            location = self._locations.get(callees.get(self._position, -1))
            if location is not None and location not in self._demand.repeated:
                yield place, location

    def _late_functions(self, number: int) -> Iterator[tuple[int, int]]:
        """The others, with functions of the remainder."""
        for place, callees in enumerate(self._shared[number].plan.late):
            if self._position in callees:
                index = callees[self._position]
                location = self._locations.get(index)
                if location is None:
                    yield place, self._numbers.reference(index)
                elif location in self._demand.repeated:
                    yield place, self._numbers.reference(self._demand.repeated[location])

    def _fill_late_tables(self) -> list[bytes]:
        """Fill private tables from other modules, and from segments after the blob's own, whose numbers stay."""
        self._elements = list(map(self._element, self._module.elements))
        out: list[bytes] = []
        for number, table in self._late_tables.items():
            by_source: dict[int, list[tuple[int, int]]] = {}
            for place, (source, position) in self._late_locations(number):
                by_source.setdefault(source, []).append((place, position))
            for source, places in by_source.items():
                out += [
                    start_function.table_copy(run, self._functions[source], table)
                    for run in start_function.runs(places)
                ]
            if own := list(self._late_functions(number)):
                segment = len(self._elements)
                functions = [function for _, function in own]
                self._elements.append(Element(Mode.PASSIVE, 0, None, FUNCREF, functions, None))
                places = [(place, source) for source, (place, _) in enumerate(own)]
                out += [start_function.table_init(run, segment, table) for run in start_function.runs(places)]
        return out

    def _element(self, element: Element) -> Element:
        """A segment of the blob as the remainder has it: the start function copies what fills the program's table."""
        numbers = self._numbers
        fills = element.mode == Mode.ACTIVE and element.table == 0 and numbers.has_table
        functions, expressions = element.functions, element.expressions
        if fills and self._is_table_plain:
            if functions is not None:
                functions = [index for index in functions if index not in self._locations]
            if expressions is not None:
                expressions = [entry for entry in expressions if referenced_function(entry) not in self._locations]
        return replace(
            element,
            mode=Mode.PASSIVE if fills else element.mode,
            table=0 if fills or element.mode != Mode.ACTIVE else numbers.table(element.table),
            offset=self._expression(element.offset) if element.offset and not fills else None,
            functions=functions and [numbers.reference(index) for index in functions],
            expressions=expressions and [self._expression(entry) for entry in expressions],
        )

    def _fill_table(self) -> list[bytes]:
        """Fill the program's table, where nobody did: from shared modules, and from the remainder's own segments."""
        out: list[bytes] = []
        for number, places in self._placed_singly.items():
            out += [start_function.table_copy(run, self._functions[number], 0) for run in start_function.runs(places)]
        for segment, element in enumerate(self._module.elements):
            if element.mode != Mode.ACTIVE or element.table or not self._numbers.has_table:
                continue
            if self._is_table_plain:
                out += [
                    start_function.table_init(run, segment, 0)
                    for run in start_function.runs(list(self._own_entries(element)))
                ]
            else:
                offset = self._expression(element.offset or writer.END)
                out.append(start_function.table_init_at(offset, len(element), segment, 0))
            if self._blob.names_segments:
                out.append(start_function.elem_drop(segment))
        return out

    def _own_entries(self, element: Element) -> Iterator[tuple[int, int]]:
        """Where in the table the entries that a segment keeps stand, and where in the segment."""
        source = 0
        for index, function in segment_entries(element):
            if function is None or function not in self._locations:
                yield index, source
                source += 1

    def _load_data(self, shared: SharedData) -> start_function.HandOver:
        """Import what a data module exports; return the call that loads its pieces."""
        load = self._numbers.import_function(shared.namespace, LOAD_DATA, WORDS_TYPE)
        return start_function.HandOver(load, _words(shared.plan.arguments(self._position)))

    def _own_data(self, words: bytes, places: Sequence[tuple[int, bytes]]) -> tuple[list[bytes], list[bytes]]:
        """One segment with words and all longer contents, and what brings each content to its address."""
        steps: list[bytes] = []
        everything = bytearray(words)
        for address, content in places:
            if len(content) in start_function.STORES:
                steps.append(start_function.store(address, content))
            else:
                steps.append(start_function.memory_init(start_function.Run(address, len(everything), len(content)), 0))
                everything += content
        if not everything:
            return [], steps
        return [writer.data_segment(_PASSIVE, bytes(everything))], steps

    def _data(self, words: bytes) -> tuple[list[bytes], list[bytes]]:
        """The blob's own segments, then one with words, and what copies the active ones to the environment's memory."""
        module = self._module
        segments: list[bytes] = []
        steps: list[bytes] = []
        for data in module.data_segments:
            content = module.data[data.start : data.end]
            number = len(segments)
            if data.mode == Mode.PASSIVE or data.memory or not self._numbers.has_memory:
                offset = data.offset and self._expression(data.offset)
                segments.append(writer.data_segment(replace(data, offset=offset), content))
                continue
            segments.append(writer.data_segment(replace(data, mode=Mode.PASSIVE, offset=None), content))
            steps.append(
                start_function.memory_init_at(self._expression(data.offset or writer.END), len(content), number)
            )
            if self._blob.names_segments:
                steps.append(start_function.data_drop(number))
        if words:
            segments.append(writer.data_segment(_PASSIVE, words))
        return segments, steps

    def _code(self, position: int) -> bytes:
        code = self._renumbered(self._blob.cut(position))
        if len(code) > MAX_FUNCTION_BYTES:  # an address takes more bytes in a constant than in an offset
            code = self._renumbered(cut_as_written(self._module, self._module.bodies[position]))
        return code

    def _renumbered(self, code: Cut) -> bytes:
        locals_, runs, opened = code
        rewritten = [*(self._instructions[instruction] for instruction in opened), b""]
        return locals_ + b"".join(chain.from_iterable(zip(runs, rewritten, strict=True)))

    def _expression(self, expression: bytes) -> bytes:
        """A constant expression with its indices renumbered."""
        parts = (
            self._instructions[instruction] if instruction[0] in (scan.GLOBAL_GET, scan.REF_FUNC) else instruction
            for instruction in scan.instructions(expression)
        )
        return b"".join(parts)

    def _names(self) -> bytes:
        module_name, functions = read_names(self._module)
        if module_name is None and not functions:
            return b""
        own = {*range(self._blob.imported_functions), *self._demand.kept, *self._demand.forwarded}
        return name_section(
            module_name, {self._numbers.function(index): name for index, name in functions.items() if index in own}
        )


def _word(slot: Slot, blob: int) -> bytes:
    """The value of a slot for a blob as memory holds it."""
    return slot.values.get(blob, 0).to_bytes(WORD_BYTES[slot.type], "little")


def _words(values: Sequence[int]) -> bytes:
    return b"".join((value & 0xFFFF_FFFF).to_bytes(WORD_BYTES[I32], "little") for value in values)
