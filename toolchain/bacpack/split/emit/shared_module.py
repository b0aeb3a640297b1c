"""Fifth stage, first part: a shared module. Its bytes depend on no one program, and it imports nothing of a host."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from itertools import chain, count

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.split.abi.checked_load import LOADS, count_locals, with_scratch, write_checked_load
from bacpack.split.abi.environment import import_load, import_memory, import_register, import_table, registers_in
from bacpack.split.abi.operands import DirectCall, LateCall, SlotRead, TableCall
from bacpack.split.abi.shared_module import (
    ADD,
    FUNCTIONS,
    LATE_TABLE,
    PLACE,
    export_name,
    slot_setters,
    write_placer,
    write_setter,
)
from bacpack.split.abi.words import WORDS_TYPE
from bacpack.split.plan.resolution import Operand, Plan, ResolvedFunction, SharedPlan
from bacpack.split.plan.table_placement import Placer
from bacpack.split.shapes.fingerprint import Blob
from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, Module, SectionId, TableType, writer
from bacpack.wasm import scanner as scan
from bacpack.wasm.instructions import op
from bacpack.wasm.leb128 import decode_signed, decode_unsigned, encode_signed, encode_unsigned
from bacpack.wasm.types import FUNCREF, I32, I64, Element, Global, Mode, Table

_NOTHING = FuncType((), ())
_CALLS = (scan.CALL, scan.RETURN_CALL)
_PROGRAM_TABLE = 0
#: The custom section that tells modules of equal code apart, with a number.
_MARK = "bacpack.copy"
_CONSTANT = {I32: "i32.const", I64: "i64.const"}


@dataclass(frozen=True, slots=True)
class Shared:
    """A shared module as others see it."""

    plan: SharedPlan
    namespace: str
    #: How many functions it has.
    size: int
    placers: Sequence[Placer]

    def import_functions(self) -> Import:
        """The import of its table of functions."""
        return Import(self.namespace, FUNCTIONS, Kind.TABLE, TableType(FUNCREF, Limits(self.size, self.size)))

    def export_name(self, position: int) -> str:
        """The name of a function that the module exports."""
        return self.plan.existing.exported[position] if self.plan.existing else export_name(position)


def constant(type_: bytes, value: int) -> bytes:
    """The instruction that gives a constant."""
    return op(_CONSTANT[type_], value)


def write_shared(
    plan: Plan,
    module: int,
    placers: Sequence[Placer],
    called: Set[int],
    blobs: Sequence[Blob],
    environment: str,
    lower: Sequence[Shared],
) -> bytes:
    """Return the bytes of a module of `plan` that has `placers`.

    Its functions at the positions `called` are called by higher modules. `environment` is a namespace, `lower` are the
    modules before it.
    """
    return _SharedWriter(plan, module, placers, called, blobs, environment, lower).write()


def function_type(blobs: Sequence[Blob], function: ResolvedFunction) -> FuncType:
    """The type of a shared function."""
    module = blobs[function.blob].module
    return module.function_type(module.functions[function.index])


class Types:
    """Function types of a module being written, numbered as they are first asked for."""

    def __init__(self) -> None:
        self._numbers: dict[FuncType, int] = {}

    def __getitem__(self, type_: FuncType) -> int:
        return self._numbers.setdefault(type_, len(self._numbers))

    def section(self) -> bytes:
        """The content of the type section."""
        return writer.vector(map(writer.func_type, self._numbers))


class _SharedWriter:
    def __init__(
        self,
        plan: Plan,
        module: int,
        placers: Sequence[Placer],
        called: Set[int],
        blobs: Sequence[Blob],
        environment: str,
        lower: Sequence[Shared],
    ) -> None:
        self._all = plan.modules
        self._plan = plan.modules[module]
        self._module = module
        self._placers = placers
        self._named = called
        self._blobs = blobs
        self._environment = environment
        self._lower = lower
        self._types = Types()
        self._closed: dict[int, _Closed] = {}
        used = 0
        for function in self._plan.functions.values():
            used |= blobs[function.blob].functions[function.index].registers
        # Global indices: registers of the environment, then slots.
        self._registers = {register: number for number, register in enumerate(registers_in(used))}
        lower_called = {
            (operand.module, operand.index)
            for function in self._plan.functions.values()
            for operand in function.operands
            if isinstance(operand, DirectCall) and operand.module != module
        }
        tables = {
            operand.module
            for function in self._plan.functions.values()
            for operand in function.operands
            if isinstance(operand, TableCall)
        }
        # Table indices: the program's, those of lower modules, then this module's own.
        self._lower_tables = {number: index for index, number in enumerate(sorted(tables), _PROGRAM_TABLE + 1)}
        self._late_table = 1 + len(tables)
        # Function indices: the environment's `load`, imported functions, then this module's own.
        self._imported = {location: number for number, location in enumerate(sorted(lower_called), 1)}
        self._first_own = 1 + len(lower_called)

    def write(self) -> bytes:
        types, plan = self._types, self._plan
        load = import_load(self._environment, types[_NOTHING])
        imports = [load, *self._function_imports()]
        imports += import_memory(self._environment), import_table(self._environment)
        imports += [self._lower[number].import_functions() for number in self._lower_tables]
        imports += [import_register(self._environment, register) for register in self._registers]

        own_types = [types[function_type(self._blobs, function)] for function in plan.functions.values()]
        codes = [self._code(function) for function in plan.functions.values()]
        exports = [
            Export(export_name(position), Kind.FUNCTION, self._first_own + position) for position in sorted(self._named)
        ]
        next_slot = len(self._registers)
        for name, slots in slot_setters(plan.slots):
            exports.append(Export(name, Kind.FUNCTION, self._first_own + len(codes)))
            own_types.append(types[WORDS_TYPE])
            codes.append(write_setter(next_slot, [slot.type for slot in slots]))
            next_slot += len(slots)
        functions = [self._first_own + position for position in plan.functions]
        tables = [Table(TableType(FUNCREF, Limits(len(plan.late), len(plan.late))))] if plan.late else []
        if plan.late:
            exports.append(Export(LATE_TABLE, Kind.TABLE, self._late_table))
        functions_index = self._late_table + len(tables)
        exports.append(Export(FUNCTIONS, Kind.TABLE, functions_index))
        tables.append(Table(TableType(FUNCREF, Limits(len(functions), len(functions)))))
        start = writer.i32_const(0) + writer.END
        elements = [Element(Mode.ACTIVE, functions_index, start, FUNCREF, functions, None)]
        if self._placers:
            entry_runs = chain.from_iterable(self._placers)
            placed = [self._first_own + position for run in entry_runs for position in run.functions]
            elements.append(Element(Mode.PASSIVE, 0, None, FUNCREF, placed, None))
        first = 0
        for number, placer in enumerate(self._placers):
            exports.append(Export(f"{PLACE}{number}", Kind.FUNCTION, self._first_own + len(codes)))
            own_types.append(types[WORDS_TYPE])
            sizes = [len(run.functions) for run in placer]
            codes.append(write_placer(first, sizes))
            first += sum(sizes)
        globals_ = [
            writer.global_(Global(GlobalType(slot.type, mutable=True), constant(slot.type, 0) + writer.END))
            for slot in plan.slots
        ]
        content = {
            SectionId.TYPE: types.section(),
            SectionId.IMPORT: writer.vector(map(writer.import_, imports)),
            SectionId.FUNCTION: writer.vector(map(encode_unsigned, own_types)),
            SectionId.TABLE: writer.vector(map(writer.table, tables)) if tables else b"",
            SectionId.GLOBAL: writer.vector(globals_) if globals_ else b"",
            SectionId.EXPORT: writer.vector(map(writer.export, exports)),
            SectionId.ELEMENT: writer.vector(map(writer.element, elements)) if elements else b"",
            SectionId.CODE: writer.vector(map(writer.sized, codes)),
        }
        return writer.module(writer.section(section_id, body) for section_id, body in content.items() if body)

    def _function_imports(self) -> list[Import]:
        imports = []
        for module, position in self._imported:
            type_ = function_type(self._blobs, self._all[module].functions[position])
            provider = self._lower[module]
            name = provider.export_name(position)
            imports.append(Import(provider.namespace, name, Kind.FUNCTION, self._types[type_]))
        return imports

    def _code(self, function: ResolvedFunction) -> bytes:
        """The function's code with everything open filled in for this module."""
        blob = self._blobs[function.blob]
        module = blob.module
        locals_, runs, opened = blob.cut(function.index)
        closed = self._closed.get(function.blob)
        if closed is None:
            closed = self._closed[function.blob] = _Closed(blob, self._types, self._registers)
        operands = iter(function.operands)
        written: list[bytes] = []
        bare: list[tuple[int, bytes]] = []
        parameters = len(function_type(self._blobs, function).params)
        first_scratch, uses_scratch = count_locals(parameters, locals_), False
        for instruction in opened:
            opcode = instruction[0]
            if opcode in (scan.I32_CONST, scan.I64_CONST):
                operand = next(operands)
                if isinstance(operand, SlotRead) and not operand.add:
                    bare.append((len(written), self._plan.slots[operand.slot].type))
                written.append(closed[instruction] if operand is None else self._read_slot(operand))
            elif opcode in LOADS:
                operand = next(operands)
                checked = None if operand is None else self._read_slot(operand)
                written.append(write_checked_load(instruction, checked, first_scratch) if checked else instruction)
                uses_scratch |= checked is not None
            elif opcode in _CALLS:
                written.append(self._call(module, instruction, next(operands)))
            else:
                written.append(closed[instruction])
        for number, type_ in bare:
            # A constant that the program itself adds next would be read back as part of the slot.
            following = runs[number + 1] or b"".join([*written[number + 1 : number + 2], *runs[number + 2 :][:1]])
            if _adds_constant(following, type_):
                written[number] += constant(type_, 0) + ADD[type_]
        written.append(b"")
        if uses_scratch:
            locals_ = with_scratch(locals_)
        return locals_ + b"".join(chain.from_iterable(zip(runs, written, strict=True)))

    def _call(self, module: Module, instruction: bytes, operand: Operand) -> bytes:
        opcode = instruction[0]
        if isinstance(operand, DirectCall):
            own = operand.module == self._module
            index = self._first_own + operand.index if own else self._imported[operand.module, operand.index]
            return bytes([opcode]) + encode_unsigned(index)
        assert isinstance(operand, LateCall | TableCall)
        indirect = scan.CALL_INDIRECT if opcode == scan.CALL else scan.RETURN_CALL_INDIRECT
        callee, _ = decode_unsigned(instruction, 1)
        type_ = self._types[module.function_type(module.function_types[callee])]
        if isinstance(operand, LateCall):
            table, entry = self._late_table, operand.entry
        else:
            table, entry = self._lower_tables[operand.module], operand.index
        return writer.i32_const(entry) + bytes([indirect]) + encode_unsigned(type_) + encode_unsigned(table)

    def _read_slot(self, operand: Operand) -> bytes:
        assert isinstance(operand, SlotRead)
        type_ = self._plan.slots[operand.slot].type
        read = op("global.get", len(self._registers) + operand.slot)
        return read + constant(type_, operand.add) + ADD[type_] if operand.add else read


def unlike(others: Collection[str], module: bytes) -> bytes:
    """The module, with a mark in a custom section if its CID is among `others`.

    A program may use two modules of equal code, and set the slots of each: of one CID there would be one instance.
    """
    marked = (module + writer.custom_section(_MARK, encode_unsigned(number)) for number in count(2))
    return next(entry for entry in chain([module], marked) if str(cid_of_bytes(entry)) not in others)


def _adds_constant(code: bytes, type_: bytes) -> bool:
    """Whether code begins with a constant and its addition."""
    return code.startswith(constant(type_, 0)[:1]) and code.startswith(ADD[type_], decode_signed(code, 1)[1])


class _Closed(dict[bytes, bytes]):
    """What becomes of the open instructions of one blob that mean the same in all, worked out once for equal bytes."""

    def __init__(self, blob: Blob, types: Types, registers: dict[int, int]) -> None:
        super().__init__()
        self._blob = blob
        self._module = blob.module
        self._types = types
        self._registers = registers

    def __missing__(self, instruction: bytes) -> bytes:
        written = self[instruction] = self._write(instruction)
        return written

    def _write(self, instruction: bytes) -> bytes:
        opcode = instruction[0]
        if opcode in (scan.I32_CONST, scan.I64_CONST):
            return bytes([opcode]) + _open_number(decode_signed(instruction, 1)[0])
        if opcode in (scan.CALL_INDIRECT, scan.RETURN_CALL_INDIRECT):
            type_ = self._types[self._module.function_type(decode_unsigned(instruction, 1)[0])]
            return bytes([opcode]) + encode_unsigned(type_) + encode_unsigned(_PROGRAM_TABLE)
        if opcode in (scan.GLOBAL_GET, scan.GLOBAL_SET):
            register = self._blob.registers[decode_unsigned(instruction, 1)[0]]
            return bytes([opcode]) + encode_unsigned(self._registers[register])
        if opcode == scan.MEMORY_GROW:
            return instruction
        # What is left in a function that has a shape is a block with a function type.
        return bytes([opcode]) + encode_signed(
            self._types[self._module.function_type(decode_signed(instruction, 1)[0])]
        )


def _open_number(value: int) -> bytes:
    """A number that a linker may have padded, in at least two bytes: in one it would be read back as part of a run."""
    encoded = encode_signed(value)
    return encoded if len(encoded) > 1 else bytes([encoded[0] | 0x80, 0x7F if value < 0 else 0])
