"""Fifth stage, second part: the remainder, what is left of a blob once its shared functions live elsewhere.

It keeps the blob's types, imports, exports, names, data and own functions. Memory, table and stack pointer come from
the environment; the start function (see `start`) brings everything to the state that the blob declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from bacpack.split import start
from bacpack.split.canonical import cut
from bacpack.split.demand import Demand
from bacpack.split.elements import constant_offset, is_placeable, referenced_function
from bacpack.split.environment import import_load, import_memory, import_stack_pointer, import_table
from bacpack.split.fingerprint import Blob, has_program_table
from bacpack.split.resolve import Plan, SharedPlan
from bacpack.split.shared import LATE_TABLE, PLACE, PLACE_TYPE, Provider, slot_setters
from bacpack.wasm import Export, FuncType, Import, Kind, Limits, Module, SectionId, TableType, writer
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb import decode_signed, decode_unsigned, encode_unsigned
from bacpack.wasm.names import NAME_SECTION, name_section, read_names
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import FUNCREF, I32, Data, Element, Global, Mode, Section

_NOTHING = FuncType((), ())
_GROW_MEMORY_TYPE = FuncType((I32,), (I32,))
_GROW_TABLE_TYPE = FuncType((FUNCREF, I32), (I32,))

#: Size of a memory page.
PAGE_BYTES = 65_536
#: Data segments with a gap of at most so many bytes are joined: copying another segment takes more.
_LARGEST_GAP = 12

#: Sections that name code by offsets or numbers, which splitting changes.
_DROPPED = (NAME_SECTION, ".debug_", "reloc.", "linking", "sourceMappingURL", "external_debug_info", "metadata.code.")


@dataclass(frozen=True, slots=True)
class Shared:
    """A shared module as a remainder sees it."""

    plan: SharedPlan
    provider: Provider
    #: For each function that the module can place in the program's table, its place in the module's segment.
    placed: dict[int, int]


def write_remainder(
    plan: Plan, position: int, blob: Blob, demand: Demand, shared: Sequence[Shared], environment: str
) -> bytes:
    """Return the bytes of the remainder of `blob`, the one at `position` in `plan`; `environment` is a namespace."""
    return _RemainderWriter(plan, position, blob, demand, shared).write(environment)


class _Types:
    """The blob's own types, and those that the remainder adds after them."""

    def __init__(self, module: Module) -> None:
        self._module = module
        known = reversed(list(enumerate(module.types)))
        self._numbers = {type_.function: number for number, type_ in known if type_.function and type_.alone}
        self._added: list[FuncType] = []

    def __getitem__(self, type_: FuncType) -> int:
        if type_ not in self._numbers:
            self._numbers[type_] = len(self._module.types) + len(self._added)
            self._added.append(type_)
        return self._numbers[type_]

    def section(self) -> bytes:
        return extended(self._module, SectionId.TYPE, map(writer.func_type, self._added))


class _Instructions(dict[bytes, bytes]):
    """What becomes of each open instruction of a remainder's own code, worked out once for equal bytes."""

    def __init__(self, numbers: _Numbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, instruction: bytes) -> bytes:
        rewritten = self[instruction] = self._rewrite(instruction)
        return rewritten

    def _rewrite(self, instruction: bytes) -> bytes:
        opcode, numbers = instruction[0], self._numbers
        if opcode == scan.I32_CONST:
            return writer.i32_const(decode_signed(instruction, 1)[0])
        if opcode in (scan.CALL, scan.RETURN_CALL):
            return bytes([opcode]) + encode_unsigned(numbers.function(decode_unsigned(instruction, 1)[0]))
        if opcode == scan.REF_FUNC:
            index = numbers.reference(decode_unsigned(instruction, 1)[0])
            numbers.declared.add(index)
            return bytes([opcode]) + encode_unsigned(index)
        if opcode in (scan.GLOBAL_GET, scan.GLOBAL_SET):
            return bytes([opcode]) + encode_unsigned(numbers.global_(decode_unsigned(instruction, 1)[0]))
        if opcode in (scan.CALL_INDIRECT, scan.RETURN_CALL_INDIRECT):
            type_index, position = decode_unsigned(instruction, 1)
            table, _ = decode_unsigned(instruction, position)
            return bytes([opcode]) + encode_unsigned(type_index) + encode_unsigned(numbers.table(table))
        if opcode == scan.MEMORY_GROW:
            return instruction if decode_unsigned(instruction, 1)[0] else numbers.grow_memory()
        if opcode in (0x25, 0x26) or (opcode == 0xFC and instruction[1] >= 0x0C and instruction[1] != 0x0D):
            return self._table_instruction(instruction)
        return instruction  # types, tags and segments keep their numbers, and so do memories

    def _table_instruction(self, instruction: bytes) -> bytes:
        numbers = self._numbers
        row, values = Reader(instruction).instruction()
        if row.name == "table.grow" and values[0] == 0:
            return numbers.grow_table()
        kinds = zip(row.immediates, values, strict=True)
        return row.encoding + b"".join(
            encode_unsigned(numbers.table(value) if kind == "table" else value) for kind, value in kinds
        )


class _Numbers:
    """Every index space of a remainder: what the blob imports, what bacpack imports, what the remainder defines."""

    def __init__(self, blob: Blob) -> None:
        self._module = module = blob.module
        self._stack_pointer = blob.stack_pointer
        self.types = _Types(module)
        self.has_table = has_program_table(module)
        self.has_memory = bool(module.memories) and not module.imported(Kind.MEMORY)
        self._next_function = len(module.imported(Kind.FUNCTION))
        self._imported_tables = self._next_table = len(module.imported(Kind.TABLE))
        self._imported_globals = len(module.imported(Kind.GLOBAL))
        self._functions = {index: index for index in range(self._next_function)}
        self._referenced_hosts: dict[int, int] = {}
        self._exported: dict[int, int] = {}
        #: Imports that bacpack adds.
        self.imports: list[Import] = []
        #: Functions whose reference code takes: a module must declare them outside of code.
        self.declared: set[int] = set()
        #: Functions that bacpack adds, type and code, in the order of their numbers.
        self.added: list[tuple[int, bytes]] = []

    def add_import(self, entry: Import) -> int:
        """Add an import; return its number among functions or tables."""
        self.imports.append(entry)
        if entry.kind == Kind.FUNCTION:
            self._next_function += 1
            return self._next_function - 1
        if entry.kind == Kind.TABLE:
            self._next_table += 1
            return self._next_table - 1
        return 0

    def import_function(self, provider: Provider, name: str, type_: FuncType) -> int:
        """Import a function of a shared module."""
        return self.add_import(Import(provider.namespace, name, Kind.FUNCTION, self.types[type_]))

    def provide(self, index: int, number: int) -> None:
        """Say which import provides a function of the blob."""
        self._functions[index] = number

    def define(self, index: int) -> None:
        """Give a function that stays its number. All imports must have been added."""
        self._functions[index] = self._next_function
        self._next_function += 1

    def add_function(self, type_index: int, code: bytes) -> int:
        """Add a function of bacpack's own; return its number. All functions that stay must have been defined."""
        self.added.append((type_index, code))
        self._next_function += 1
        return self._next_function - 1

    def forward_host(self, index: int) -> None:
        """Add a function that calls a host function and stands for it where its reference is taken."""
        self._referenced_hosts[index] = self._forward(index)

    def forward_export(self, index: int) -> None:
        """Add a function that calls a shared one and stands for it where it is exported."""
        self._exported[index] = self._forward(index)

    def _forward(self, index: int) -> int:
        type_index = self._module.function_types[index]
        parameters = len(self._module.function_type(type_index).params)
        return self.add_function(type_index, start.forward(self._functions[index], parameters))

    def function(self, index: int) -> int:
        """The number of a function that is called."""
        return self._functions[index]

    def reference(self, index: int) -> int:
        """The number of a function whose reference is taken."""
        return self._referenced_hosts[index] if index in self._referenced_hosts else self._functions[index]

    def export(self, entry: Export) -> Export:
        """An export of the blob with its new number."""
        if entry.kind == Kind.FUNCTION:
            exported = self._exported[entry.index] if entry.index in self._exported else self._functions[entry.index]
            return replace(entry, index=exported)
        if entry.kind == Kind.TABLE:
            return replace(entry, index=self.table(entry.index))
        return replace(entry, index=self.global_(entry.index)) if entry.kind == Kind.GLOBAL else entry

    def table(self, index: int) -> int:
        """The number of a table: the program's is imported from the environment, before private tables."""
        if self.has_table:
            return 0 if index == 0 else index + self._next_table - 1
        return index if index < self._imported_tables else index - self._imported_tables + self._next_table

    def global_(self, index: int) -> int:
        """The number of a global: the stack pointer is imported, the rest follow in order."""
        if self._stack_pointer is None or index > self._stack_pointer or index < self._imported_globals:
            return index
        return self._imported_globals if index == self._stack_pointer else index + 1

    def grow_memory(self) -> bytes:
        """`memory.grow`, through a function that knows the maximum where the blob declares one."""
        maximum = self._module.memories[0].maximum if self.has_memory else None
        if maximum is None:
            return b"\x40\0"
        return start.call(self._helper(_GROW_MEMORY_TYPE, start.bounded_grow_memory(maximum)))

    def grow_table(self) -> bytes:
        """`table.grow` of table 0, likewise."""
        maximum = self._module.tables[0].type.limits.maximum if self.has_table else None
        if maximum is None:
            return b"\xfc\x0f" + encode_unsigned(self.table(0))
        return start.call(self._helper(_GROW_TABLE_TYPE, start.bounded_grow_table(maximum)))

    def _helper(self, type_: FuncType, code: bytes) -> int:
        return self.add_function(self.types[type_], code)


class _RemainderWriter:
    def __init__(self, plan: Plan, position: int, blob: Blob, demand: Demand, shared: Sequence[Shared]) -> None:
        self._position = position
        self._homes = plan.homes[position]
        self._module = blob.module
        self._blob = blob
        self._demand = demand
        self._shared = shared
        self._numbers = _Numbers(blob)
        self._instructions = _Instructions(self._numbers)
        self._elements: list[Element] = []

    def write(self, environment: str) -> bytes:
        module, numbers = self._module, self._numbers
        self._import_environment(environment)
        init = self._import_shared()
        for index in self._demand.kept:
            numbers.define(index)
        for index in self._demand.forwarded_hosts:
            numbers.forward_host(index)
        for index in self._demand.forwarded_exports:
            numbers.forward_export(index)
        first = self._blob.imported_functions
        codes = [self._code(index - first) for index in self._demand.kept]
        steps = [self._grow(), *init, self._fill_late_tables(), self._fill_table()]
        data, data_steps = self._data()
        steps.append(data_steps)
        if module.start is not None:
            steps.append(start.call(numbers.function(module.start)))
        first_function = numbers.add_function(numbers.types[_NOTHING], b"\0" + b"".join(steps) + writer.END)
        if numbers.declared:
            self._elements.append(Element(Mode.DECLARATIVE, 0, None, FUNCREF, sorted(numbers.declared), None))

        function_types = [module.function_types[index] for index in self._demand.kept]
        function_types += [type_ for type_, _ in numbers.added]
        codes += [code for _, code in numbers.added]
        globals_ = [
            writer.global_(Global(entry.type, self._expression(entry.init)))
            for index, entry in enumerate(module.globals, len(module.imported(Kind.GLOBAL)))
            if index != self._blob.stack_pointer
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
            SectionId.START: encode_unsigned(first_function),
            SectionId.ELEMENT: writer.vector(map(writer.element, self._elements)) if self._elements else None,
            SectionId.DATA_COUNT: encode_unsigned(len(data)) if data else None,
            SectionId.CODE: writer.vector(map(writer.sized, codes)),
            SectionId.DATA: writer.vector(data) if data else None,
        }
        kept_sections = [section for section in module.sections if not is_dropped(section)]
        return writer.rewrite(Module(module.data, kept_sections), changed) + self._names()

    def _import_environment(self, namespace: str) -> None:
        numbers = self._numbers
        numbers.add_import(import_load(namespace, numbers.types[_NOTHING]))
        if numbers.has_memory:
            numbers.add_import(import_memory(namespace))
        if numbers.has_table:
            numbers.add_import(import_table(namespace))
        if self._blob.stack_pointer is not None:
            numbers.add_import(import_stack_pointer(namespace))

    def _import_shared(self) -> list[bytes]:
        """Import what the shared modules provide; return the calls that set their slots."""
        module, numbers = self._module, self._numbers
        for index, (number, position) in self._demand.imported.items():
            provider = self._shared[number].provider
            type_ = module.function_type(module.function_types[index])
            numbers.provide(index, numbers.import_function(provider, provider.exported[position], type_))
        placing = {number for number, _ in self._demand.placed}
        self._place = {
            number: numbers.import_function(self._shared[number].provider, PLACE, PLACE_TYPE)
            for number in sorted(placing)
        }
        self._late_tables: dict[int, int] = {}
        steps = []
        for number, (plan, provider) in enumerate((entry.plan, entry.provider) for entry in self._shared):
            first = 0
            for name, type_ in slot_setters(len(plan.slots)):
                slots = plan.slots[first : first + len(type_.params)]
                first += len(type_.params)
                if any(self._position in slot for slot in slots):
                    setter = numbers.import_function(provider, name, type_)
                    steps.append(start.set_slots(setter, [slot.get(self._position, 0) for slot in slots]))
            if any(self._position in entry for entry in plan.late):
                table_type = TableType(FUNCREF, Limits(len(plan.late), len(plan.late)))
                self._late_tables[number] = numbers.add_import(
                    Import(provider.namespace, LATE_TABLE, Kind.TABLE, table_type)
                )
        return steps

    def _grow(self) -> bytes:
        module, numbers = self._module, self._numbers
        out = start.grow_memory(module.memories[0]) if numbers.has_memory else b""
        if numbers.has_table:
            table = module.tables[0]
            out += start.grow_table(table.type, table.init and self._expression(table.init))
        if (stack_pointer := self._blob.stack_pointer) is not None:
            imported = len(module.imported(Kind.GLOBAL))
            init = self._expression(module.globals[stack_pointer - imported].init)
            out += start.set_global(numbers.global_(stack_pointer), init)
        return out

    def _fill_late_tables(self) -> bytes:
        """Fill private tables from segments that come after the blob's own, whose numbers code may name."""
        self._elements = list(map(self._element, self._module.elements))
        out = []
        for number, table in self._late_tables.items():
            entries = self._shared[number].plan.late
            own = [(place, entry[self._position]) for place, entry in enumerate(entries) if self._position in entry]
            segment = len(self._elements)
            functions = [self._numbers.reference(index) for _, index in own]
            self._elements.append(Element(Mode.PASSIVE, 0, None, FUNCREF, functions, None))
            places = [(place, source) for source, (place, _) in enumerate(own)]
            out += [start.table_init(run, segment, table) for run in start.runs(places)]
        return b"".join(out)

    def _element(self, element: Element) -> Element:
        """A segment of the blob as the remainder has it: the start function copies what fills the program's table."""
        numbers = self._numbers
        fills = element.mode == Mode.ACTIVE and element.table == 0 and numbers.has_table
        functions, expressions = element.functions, element.expressions
        if is_placeable(self._module, element):
            if functions is not None:
                functions = [index for index in functions if index not in self._homes]
            if expressions is not None:
                expressions = [entry for entry in expressions if referenced_function(entry) not in self._homes]
        return replace(
            element,
            mode=Mode.PASSIVE if fills else element.mode,
            table=0 if fills or element.mode != Mode.ACTIVE else numbers.table(element.table),
            offset=self._expression(element.offset) if element.offset and not fills else None,
            functions=functions and [numbers.reference(index) for index in functions],
            expressions=expressions and [self._expression(entry) for entry in expressions],
        )

    def _fill_table(self) -> bytes:
        """Fill the program's table, each part from where it is: the remainder's own segment or a shared module."""
        out: list[bytes] = []
        for segment, element in enumerate(self._module.elements):
            if element.mode != Mode.ACTIVE or element.table or not self._numbers.has_table:
                continue
            if is_placeable(self._module, element) and len(element):
                out += self._place_entries(element, segment)
            else:
                offset = self._expression(element.offset or writer.END)
                out.append(start.table_init_at(offset, len(element), segment, 0))
            if self._blob.names_segments:
                out.append(start.elem_drop(segment))
        return b"".join(out)

    def _place_entries(self, element: Element, segment: int) -> Iterator[bytes]:
        to = constant_offset(element.offset) or 0
        entries: Sequence[int | None] = element.functions or ()
        if element.expressions is not None:
            entries = [referenced_function(entry) for entry in element.expressions]
        by_source: dict[int | None, list[tuple[int, int]]] = {}
        for position, index in enumerate(entries, to):
            home = self._homes.get(index) if index is not None else None
            places = by_source.setdefault(home and home[0], [])
            places.append((position, self._shared[home[0]].placed[home[1]] if home else len(places)))
        for number, places in by_source.items():
            for run in start.runs(places):
                yield start.table_init(run, segment, 0) if number is None else start.place(run, self._place[number])

    def _data(self) -> tuple[list[bytes], bytes]:
        """The data segments, and the instructions that copy the active ones to the memory of the environment."""
        module = self._module
        segments: list[bytes] = []
        steps: list[bytes] = []
        for data, content in merged_data(module, keep_numbers=self._blob.names_segments):
            number = len(segments)
            if data.mode == Mode.PASSIVE or data.memory or not self._numbers.has_memory:
                offset = data.offset and self._expression(data.offset)
                segments.append(writer.data_segment(replace(data, offset=offset), content))
                continue
            segments.append(writer.data_segment(replace(data, mode=Mode.PASSIVE, offset=None), content))
            steps.append(start.memory_init_at(self._expression(data.offset or writer.END), len(content), number))
            if self._blob.names_segments:
                steps.append(start.data_drop(number))
        return segments, b"".join(steps)

    def _code(self, position: int) -> bytes:
        locals_, runs, opened = cut(self._module, self._module.bodies[position])
        rewritten = [self._instructions[instruction] for instruction in opened]
        rewritten.append(b"")
        return locals_ + b"".join(chain.from_iterable(zip(runs, rewritten, strict=True)))

    def _expression(self, expression: bytes) -> bytes:
        """A constant expression with its indices renumbered."""
        reader = Reader(expression)
        out = []
        while reader.remaining:
            at = reader.position
            row, _ = reader.instruction()
            instruction = expression[at : reader.position]
            renumber = row.name in ("global.get", "ref.func")
            out.append(self._instructions[instruction] if renumber else instruction)
        return b"".join(out)

    def _names(self) -> bytes:
        module_name, functions = read_names(self._module)
        if module_name is None and not functions:
            return b""
        own = {*range(self._blob.imported_functions), *self._demand.kept}
        return name_section(
            module_name, {self._numbers.function(index): name for index, name in functions.items() if index in own}
        )


def merged_data(module: Module, *, keep_numbers: bool) -> list[tuple[Data, bytes]]:
    """The data segments and their contents, neighbours joined over small gaps unless their numbers must be kept.

    A gap is filled with zeros, which is what a memory holds that nobody wrote to: so a segment is joined only to one
    that reaches further than all before it, and only where both certainly fit.
    """
    joined: list[tuple[Data, bytearray]] = []
    size = module.memories[0].minimum * PAGE_BYTES if module.memories else 0
    highest: int | None = 0  # up to where memory may have been written; None once that is not known
    joinable = False
    for data in module.data_segments:
        content = module.data[data.start : data.end]
        if data.mode == Mode.PASSIVE or data.memory:
            joined.append((data, bytearray(content)))
            joinable = False
            continue
        offset = constant_offset(data.offset)
        end = None if offset is None or offset + len(content) > size else offset + len(content)
        if end is None or offset is None or highest is None:
            joined.append((data, bytearray(content)))
            highest, joinable = None, False
            continue
        if joinable and 0 <= offset - highest <= _LARGEST_GAP:
            joined[-1][1].extend(bytes(offset - highest) + content)
        else:
            joined.append((data, bytearray(content)))
        joinable = end >= highest and not keep_numbers
        highest = max(highest, end)
    return [(data, bytes(content)) for data, content in joined]


def is_dropped(section: Section) -> bool:
    """Whether a section of the blob describes code in a way that splitting makes wrong."""
    return section.id == SectionId.CUSTOM and (section.name or "").startswith(_DROPPED)


def extended(module: Module, section_id: SectionId, added: Iterable[bytes]) -> bytes:
    """The content of a section that is a vector, with entries added after the old ones, whose bytes are kept."""
    entries = list(added)
    section = module.section(section_id)
    if section is None:
        return writer.vector(entries)
    count, first = decode_unsigned(module.data, section.content)
    return encode_unsigned(count + len(entries)) + module.data[first : section.end] + b"".join(entries)
