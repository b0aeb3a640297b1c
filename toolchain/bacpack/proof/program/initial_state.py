"""What memories, tables, globals and segments hold before a program's own code runs.

Instantiation is carried out on plain data.
Copies whose outcome depends on such a value, or that go to a memory or table of the host, are listed in `State.log`.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from bacpack.proof.code.constant_expressions import ALLOCATION, NULL, Atom, Value, append, integer, literal, operation
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.module_view import Instruction, decode
from bacpack.proof.program.effort import Effort, EffortError
from bacpack.proof.program.linked_program import Address, Instance, LinkedProgram
from bacpack.proof.program.memory_content import Content, Entries, Later
from bacpack.wasm import Kind, Limits, TableType
from bacpack.wasm.limits import MAX_TABLE_ENTRIES
from bacpack.wasm.types import Element, Mode

PAGE_BYTES = 65_536
_MOST_PAGES = 65_536
#: Structures and arrays that a program may allocate in initial values: each is told apart, and takes 250 bytes here.
MOST_ALLOCATIONS = 500_000
#: Copied bytes that count as one step.
_BYTES_A_STEP = 16


class StartTrapError(Exception):
    """Instantiation traps; the message says where."""


@dataclass
class Memory:
    """A memory's size and content."""

    limits: Limits
    pages: int
    content: Content = field(default_factory=Content)


@dataclass
class Table:
    """A table's size and entries, by the numbers of `State.values`; those that nobody wrote are `initial`."""

    type: TableType
    size: int
    initial: Value = NULL
    entries: Entries = field(default_factory=Entries)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy to a memory or table whose outcome only the host knows."""

    kind: Kind
    target: Address
    to: Value
    #: Bytes, or numbers of values.
    content: bytes | array[int]
    #: What was copied to known places of the same memory or table after that.
    later: Later = field(default_factory=Later)


class State:
    """What everything in a linked program holds. Instances are instantiated one after the other, providers first."""

    def __init__(self, program: LinkedProgram) -> None:
        self._program = program
        self.memories: dict[Address, Memory] = {}
        self.tables: dict[Address, Table] = {}
        self.globals: dict[Address, Value] = {}
        #: What segments hold, by instance and index; nothing once dropped.
        self.data: dict[tuple[int, int], bytes] = {}
        self.elements: dict[tuple[int, int], array[int]] = {}
        #: Values of elements by their numbers, each once: there may be millions of entries. None has the number zero.
        self.values: list[Value] = [()]
        self._numbers: dict[Value, int] = {}
        self.log: list[Copy] = []
        self._last: dict[tuple[Kind, Address], Copy] = {}
        self._allocations = 0
        self._effort = Effort(sum(len(instance.view.module.data) for instance in program.instances if instance))
        self.spend = self._effort.spend

    def instantiate(self, instance: Instance) -> None:
        """Do all that instantiation does before the start function; raises `StartTrapError`."""
        view = instance.view
        module, imports = view.module, view.imports
        for index, entry in enumerate(module.globals, len(imports[Kind.GLOBAL])):
            self.globals[instance.address(Kind.GLOBAL, index)] = self.evaluate(instance, entry.init)
        for index, limits in enumerate(module.memories, len(imports[Kind.MEMORY])):
            self.memories[instance.address(Kind.MEMORY, index)] = Memory(limits, limits.minimum)
        for index, table in enumerate(module.tables, len(imports[Kind.TABLE])):
            initial = self.evaluate(instance, table.init) if table.init else NULL
            type_ = view.table_type(index)
            self.tables[instance.address(Kind.TABLE, index)] = Table(type_, type_.limits.minimum, initial)
        for index, element in enumerate(module.elements):
            self.elements[instance.number, index] = self._element_values(instance, element)
        for index, data in enumerate(module.data_segments):
            self.data[instance.number, index] = module.data[data.start : data.end]
        for index, element in enumerate(module.elements):
            if element.offset is not None:
                to = self.evaluate(instance, element.offset)
                self.fill_table(instance.address(Kind.TABLE, element.table), to, self.elements[instance.number, index])
            if element.mode != Mode.PASSIVE:
                self.elements[instance.number, index] = array("I")
        for index, data in enumerate(module.data_segments):
            if data.offset is not None:
                to = self.evaluate(instance, data.offset)
                self.fill_memory(instance.address(Kind.MEMORY, data.memory), to, self.data[instance.number, index])
                self.data[instance.number, index] = b""

    def _element_values(self, instance: Instance, element: Element) -> array[int]:
        if element.functions is not None:
            functions = {
                index: self.number((("ref.func", instance.address(Kind.FUNCTION, index)),))
                for index in set(element.functions)
            }
            return array("I", map(functions.__getitem__, element.functions))
        known: dict[bytes, int] = {}
        out = array("I")
        for expression in element.expressions or ():
            number = known.get(expression)
            if number is None:
                before = self._allocations
                number = self.number(self.evaluate(instance, expression))
                if self._allocations == before:  # else it is another object each time
                    known[expression] = number
            out.append(number)
        return out

    def number(self, value: Value) -> int:
        """The number of a value."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def evaluate(self, instance: Instance, expression: bytes) -> Value:
        """The value of a constant expression with its final `end`."""
        atoms: list[Atom] = []
        for instruction in decode(expression)[:-1]:
            more = self.constant(instance, instruction)
            self.spend(len(more))
            append(atoms, more)
        return tuple(atoms)

    def constant(self, instance: Instance, instruction: Instruction) -> Value:
        """What an instruction of a constant expression adds to a value."""
        row, values, content = instruction
        if value := integer(instruction) or operation(instruction):
            return value
        if row.name == "global.get":
            address = instance.address(Kind.GLOBAL, values[0])
            if self._program.host(address):
                return (("host", address),)
            return self.globals[address]
        if row.name == "ref.func":
            return (("ref.func", instance.address(Kind.FUNCTION, values[0])),)
        if row.name == "ref.null":
            return NULL
        if row.name in ("f32.const", "f64.const", "v128.const"):
            return ((row.name, content),)
        self._allocations += 1
        if self._allocations > MOST_ALLOCATIONS:
            raise EffortError
        return ((row.name, instance.view.own_key(content)), (ALLOCATION, self._allocations))

    def fill_memory(self, address: Address, to: Value, content: bytes) -> None:
        """Copy bytes to a memory."""
        self.spend(1 + len(content) // _BYTES_A_STEP)
        memory, place = self.memories.get(address), literal(to)
        if memory is None or place is None:
            self._note(Copy(Kind.MEMORY, address, to, content))
            return
        if place + len(content) > memory.pages * PAGE_BYTES:
            raise StartTrapError(f"{len(content)} bytes of data do not fit at address {place}")
        if copy := self.last_copy(Kind.MEMORY, address):
            copy.later.content.write(place, content)
            copy.later.written.write(place, b"\1" * len(content))
        else:
            memory.content.write(place, content)

    def load(self, address: Address, at: int, size: int) -> bytes:
        """Bytes of a memory, which must be known."""
        memory = self.memories.get(address)
        if memory is None or self.last_copy(Kind.MEMORY, address):
            raise not_equivalent("the start function reads a memory that only the host knows")
        if at + size > memory.pages * PAGE_BYTES:
            raise StartTrapError(f"a number is read beyond the memory, at address {at}")
        return memory.content.read(at, size)

    def fill_table(self, address: Address, to: Value, content: array[int]) -> None:
        """Copy references, by their numbers, to a table."""
        self.spend(1 + len(content))
        table, place = self.tables.get(address), literal(to)
        if table is None or place is None:
            self._note(Copy(Kind.TABLE, address, to, content))
            return
        if place + len(content) > table.size:
            raise StartTrapError(f"{len(content)} elements do not fit at entry {place} of the table")
        copy = self.last_copy(Kind.TABLE, address)
        (copy.later.entries if copy else table.entries).write(place, content)

    def entries(self, address: Address, first: int, count: int) -> array[int]:
        """Entries of a table, which must be known, by their numbers."""
        table = self.tables.get(address)
        if table is None or self.last_copy(Kind.TABLE, address):
            raise not_equivalent("the start function copies from a table that only the host knows")
        if first + count > table.size:
            raise StartTrapError(f"a table is shorter than the {count} entries that are copied from {first}")
        self.spend(count)
        initial = self.number(table.initial)
        return array("I", (number or initial for number in table.entries.read(first, count)))

    def entry(self, table: Table, entry: int) -> Value:
        """What one entry of a table holds."""
        (number,) = table.entries.read(entry, 1)
        return self.values[number] if number else table.initial

    def last_copy(self, kind: Kind, address: Address) -> Copy | None:
        """The last copy in the log that goes to a memory or table: what is there depends on it."""
        return self._last.get((kind, address))

    def _note(self, copy: Copy) -> None:
        self.log.append(copy)
        self._last[copy.kind, copy.target] = copy

    def grow_memory(self, address: Address, pages: int) -> None:
        """Grow a memory, or trap."""
        memory = self.memories.get(address)
        if memory is None:
            raise not_equivalent("the start function grows a memory of the host")
        maximum = _MOST_PAGES if memory.limits.maximum is None else memory.limits.maximum
        if memory.pages + pages > maximum:
            raise StartTrapError(f"the memory cannot grow by {pages} pages")
        memory.pages += pages

    def grow_table(self, address: Address, initial: Value, entries: int) -> None:
        """Grow a table that is empty, or trap."""
        table = self.tables.get(address)
        if table is None or table.size:
            raise not_equivalent("the start function grows a table that is the host's or not empty")
        if table.type.limits.maximum is not None and entries > table.type.limits.maximum:
            raise StartTrapError(f"the table cannot grow by {entries} entries")
        if entries > MAX_TABLE_ENTRIES:
            raise not_equivalent(f"the start function grows a table to {entries} entries, which no host allows")
        table.size, table.initial = entries, initial
