"""Reading back a shared module: what `emit/shared_module` wrote, as a plan that other blobs can be fitted to.

A module says all that is needed itself, so a catalog needs no record of its own that could be wrong about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bacpack.content.cid.cid import Cid, is_cid
from bacpack.split.abi.checked_load import (
    LOADS,
    before_address,
    checked_load,
    count_locals,
    read_checked_load,
    without_scratch,
)
from bacpack.split.abi.environment import LOAD, REGISTERS, environment_cid
from bacpack.split.abi.operands import LateCall, SlotRead
from bacpack.split.abi.shared_module import (
    ADD,
    FUNCTIONS,
    LATE_TABLE,
    UnknownFormError,
    export_name,
    slot_setters,
    write_placer,
    write_setter,
)
from bacpack.split.abi.words import ONE_LOCAL, WORDS_TYPE
from bacpack.split.catalog.published_code import Existing, ExistingFunction, ExistingOperand, Literal, ModuleCall
from bacpack.split.shapes.fingerprint import ANY_CONST, ANY_LONG, CALL, CONST, LONG, digest
from bacpack.wasm import Import, Kind, Module, WasmError
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_signed, decode_unsigned
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import I32, I64, Body, Mode
from bacpack.wasm.writer import func_type

_CALLS = (scan.CALL, scan.RETURN_CALL)
_DIRECT = {scan.CALL_INDIRECT: scan.CALL, scan.RETURN_CALL_INDIRECT: scan.RETURN_CALL}
_BLOCKS = (0x02, 0x03, 0x04, 0x06)
_CONSTANTS = {scan.I32_CONST: (ANY_CONST, CONST, ADD[I32]), scan.I64_CONST: (ANY_LONG, LONG, ADD[I64])}


def read_existing(cid: str, data: bytes) -> Existing | None:
    """Read a shared module, or return None for bytes that are no module of this form."""
    try:
        return _Reader(cid, data).read()
    except (WasmError, UnknownFormError, IndexError):
        return None


@dataclass(slots=True)
class _Cut:
    """A function's code as it was in the blobs it came from."""

    runs: list[bytes]
    shapes: list[bytes]
    kinds: str
    operands: list[ExistingOperand]

    def add(self, shape: bytes, kind: str, operand: ExistingOperand) -> None:
        """Add an open instruction with an operand."""
        self.shapes.append(shape)
        self.kinds += kind
        self.operands.append(operand)

    def take_checked_load(self, code: bytes, first: int) -> int:
        """Make a load of the slot that was read last, if `code` goes on like one; return what of it that takes."""
        checked, before = read_checked_load(code, first), before_address(first)
        if checked is None or self.kinds[-1] != CONST or not self.runs[-1].endswith(before):
            return 0
        self.runs[-1] = self.runs[-1][: -len(before)]
        self.shapes[-1], end = checked
        return end

    def take_constant(self) -> int:
        """Take back the `i32.const` that comes last, and return its value. One of one byte is part of a run."""
        if self.runs[-1]:
            last = self.runs[-1][-2:]
            if last[0] != scan.I32_CONST:
                raise UnknownFormError
            self.runs[-1] = self.runs[-1][:-2]
            return decode_signed(last, 1)[0]
        operand = self.operands.pop()
        if not isinstance(operand, Literal) or self.kinds[-1] != CONST:
            raise UnknownFormError
        self.kinds = self.kinds[:-1]
        self.shapes.pop()
        self.runs.pop()
        return operand.value


class _Reader:
    def __init__(self, cid: str, data: bytes) -> None:
        self._cid = cid
        self._data = data
        self._module = module = Module.parse(data)
        self._imported = module.imported(Kind.FUNCTION)
        self._registers = [_register(entry) for entry in module.imported(Kind.GLOBAL)]
        self._own = {entry.name: entry.index for entry in module.exports if entry.kind == Kind.FUNCTION}
        if not _holds_code_only(module):
            raise UnknownFormError
        first = len(self._imported)
        functions = list(module.elements[0].functions or ())
        self._functions = len(functions)
        names = {position: self._own.get(export_name(position)) for position in range(self._functions)}
        self._exported = {position: export_name(position) for position, index in names.items() if index is not None}
        self._placers = [name for name in map("P{}".format, range(len(self._own))) if name in self._own]
        setters = slot_setters(module.globals)
        helpers = [*(name for name, _ in setters), *self._placers]
        first_helper = first + self._functions
        if (
            functions != list(range(first, first + self._functions))
            or any(index not in (None, first + position) for position, index in names.items())
            or [self._own.get(name) for name in helpers] != list(range(first_helper, len(module.function_types)))
            or any(module.function_type(type_) != WORDS_TYPE for type_ in module.function_types[first_helper:])
            or [self._code(self._own[name]) for name, _ in setters] != list(self._setters())
            or len(self._own) != len(self._exported) + len(helpers)
        ):
            raise UnknownFormError
        self._tables = module.imported(Kind.TABLE)
        self._has_late_table = _has_late_table(module)

    def read(self) -> Existing:
        module = self._module
        if not _imports_modules_only(module):
            raise UnknownFormError
        own = zip(module.functions[: self._functions], module.bodies[: self._functions], strict=True)
        functions = [self._function(type_index, body) for type_index, body in own]
        late = module.tables[0].type.limits.minimum if self._has_late_table else 0
        entries = {
            operand.entry for function in functions for operand in function.operands if isinstance(operand, LateCall)
        }
        if late != len(entries) or entries != set(range(late)):
            raise UnknownFormError
        return Existing(
            self._cid,
            self._data,
            functions,
            self._exported,
            self._read_placers(),
            [entry.type.value for entry in module.globals],
            late,
        )

    def _code(self, function: int) -> bytes:
        """The locals and code of a function that the module defines."""
        body = self._module.bodies[function - len(self._imported)]
        return self._data[body.start : body.end]

    def _setters(self) -> Iterator[bytes]:
        """The code that the functions which set slots must have."""
        first = len(self._registers)
        for _, slots in slot_setters(self._module.globals):
            yield write_setter(first, [slot.type.value for slot in slots])
            first += len(slots)

    def _read_placers(self) -> list[list[tuple[int, ...]]]:
        """What the functions that place runs of entries say; they are nothing else."""
        module, first = self._module, len(self._imported)
        segment = (module.elements[1].functions or []) if len(module.elements) > 1 else []
        placers: list[list[tuple[int, ...]]] = []
        done = 0
        for name in self._placers:
            code = self._code(self._own[name])
            reader = Reader(code, len(ONE_LOCAL))
            constants = [values[0] for row, values in _instructions(reader) if row.name == "i32.const"]
            sizes = constants[1::2]
            if code != write_placer(done, sizes):
                raise UnknownFormError
            placers.append([])
            for size in sizes:
                placers[-1].append(tuple(index - first for index in segment[done : done + size]))
                done += size
        if done != len(segment) or any(not 0 <= index - first < self._functions for index in segment):
            raise UnknownFormError
        return placers

    def _function(self, type_index: int, body: Body) -> ExistingFunction:
        start = scan.code_start(self._data, body.start, body.end)
        runs, opened = scan.scan(self._data, start, body.end)
        out = _Cut([runs[0]], [], "", [])
        declarations = self._data[body.start : start]
        locals_ = count_locals(len(self._module.function_type(type_index).params), declarations)
        uses_scratch = skip = False
        for number, instruction in enumerate(opened):
            after = runs[number + 1]
            if skip:  # a constant that is added to a slot
                after = after[1:]
                skip = False
                if checked := out.take_checked_load(after, locals_ - 2):
                    after = after[checked:]
                    uses_scratch = True
                out.runs.append(after)
                continue
            opcode = instruction[0]
            slot = self._slot(instruction)
            if slot is not None:
                constant, shape, kind, add = self._slot_form(slot)
                value = 0
                if after[:1] == constant and after[2:3] == add:
                    value, after = decode_signed(after, 1)[0], after[3:]
                elif not after and number + 1 < len(opened) and opened[number + 1][:1] == constant:
                    skip = runs[number + 2].startswith(add)
                    value = decode_signed(opened[number + 1], 1)[0] if skip else 0
                out.add(shape, kind, SlotRead(slot, value))
                if skip:
                    continue
                if checked := out.take_checked_load(after, locals_ - 2):
                    after = after[checked:]
                    uses_scratch = True
            elif opcode in LOADS and (read := checked_load(instruction)):
                out.add(read[0], CONST, Literal(read[1]))
            elif opcode in _DIRECT and (table := self._table(instruction)):
                signature = self._signature(decode_unsigned(instruction, 1)[0])
                out.add(bytes([_DIRECT[opcode]]) + signature, CALL, self._table_call(table, out.take_constant()))
            elif opcode in _CONSTANTS:
                shape, kind, _ = _CONSTANTS[opcode]
                out.add(shape, kind, Literal(decode_signed(instruction, 1)[0]))
            elif opcode in _CALLS:
                callee = decode_unsigned(instruction, 1)[0]
                signature = self._signature(self._module.function_types[callee])
                out.add(bytes([opcode]) + signature, CALL, self._callee(callee))
            else:
                out.shapes.append(self._closed(opcode, instruction))
            out.runs.append(after)
        if uses_scratch:
            declarations = without_scratch(declarations)
        shape = digest(self._signature(type_index), declarations, out.runs, out.shapes)
        return ExistingFunction(shape, out.kinds, out.operands, body.end - body.start)

    def _slot(self, instruction: bytes) -> int | None:
        """The slot that an instruction reads, if it does."""
        if instruction[0] != scan.GLOBAL_GET:
            return None
        slot = decode_unsigned(instruction, 1)[0] - len(self._registers)
        return slot if slot >= 0 else None

    def _slot_form(self, slot: int) -> tuple[bytes, bytes, str, bytes]:
        opcode = scan.I32_CONST if self._module.globals[slot].type.value == I32 else scan.I64_CONST
        return (bytes([opcode]), *_CONSTANTS[opcode])

    @staticmethod
    def _table(instruction: bytes) -> int:
        """The table through which an instruction calls; the program's is 0."""
        _, position = decode_unsigned(instruction, 1)
        return decode_unsigned(instruction, position)[0]

    def _table_call(self, table: int, entry: int) -> ExistingOperand:
        if table < len(self._tables):
            return ModuleCall(self._tables[table].module, entry)
        if not self._has_late_table or table != len(self._tables):
            raise UnknownFormError
        return LateCall(entry)

    def _callee(self, index: int) -> ModuleCall:
        if index < len(self._imported):
            entry = self._imported[index]
            return ModuleCall(entry.module, entry.name)
        return ModuleCall(None, index - len(self._imported))

    def _signature(self, type_index: int) -> bytes:
        if type_index < 0:
            raise UnknownFormError
        return func_type(self._module.function_type(type_index))

    def _closed(self, opcode: int, instruction: bytes) -> bytes:
        """The shape of an instruction that holds nothing of one program."""
        if opcode in _DIRECT:
            return bytes([opcode]) + self._signature(decode_unsigned(instruction, 1)[0])
        if opcode in (scan.GLOBAL_GET, scan.GLOBAL_SET):
            return bytes([opcode, self._registers[decode_unsigned(instruction, 1)[0]]])
        if opcode in _BLOCKS:
            return bytes([opcode]) + self._signature(decode_signed(instruction, 1)[0])
        if opcode == scan.MEMORY_GROW:
            return instruction
        raise UnknownFormError


def _register(entry: Import) -> int:
    for number, register in enumerate(REGISTERS):
        if (register.name, register.type) == (entry.name, entry.type):
            return number
    raise UnknownFormError


def _instructions(reader: Reader) -> Iterator[tuple[Opcode, list[int]]]:
    while reader.remaining:
        yield reader.instruction()


def _has_late_table(module: Module) -> bool:
    tables = [(entry.name, entry.index) for entry in module.exports if entry.kind == Kind.TABLE]
    first = len(module.imported(Kind.TABLE))
    forms = [(FUNCTIONS, first)], [(LATE_TABLE, first), (FUNCTIONS, first + 1)]
    if tables not in forms or len(tables) != len(module.tables):
        raise UnknownFormError
    return len(tables) > 1


def _imports_modules_only(module: Module) -> bool:
    """Whether a module imports from the environment and from modules named by CID, as ours are written."""
    functions = module.imported(Kind.FUNCTION)
    rest = [entry for entry in module.imports if entry.kind != Kind.FUNCTION]
    environment = environment_cid()
    return (
        [(entry.module, entry.name) for entry in functions[:1]] == [(environment, LOAD)]
        and all(entry.module == environment or _is_table_of_functions(entry) for entry in rest)
        and all(entry.module != environment and _is_own_name(entry.module) for entry in functions[1:])
    )


def _is_table_of_functions(entry: Import) -> bool:
    return entry.kind == Kind.TABLE and entry.name == FUNCTIONS and _is_own_name(entry.module)


def _is_own_name(name: str) -> bool:
    """Whether a namespace is a CID as it is written here: one in another base names the same module."""
    return is_cid(name) and str(Cid.parse(name)) == name


def _holds_code_only(module: Module) -> bool:
    """Whether a module brings nothing but functions, slots, and tables of functions."""
    return (
        module.start is None
        and not module.memories
        and not module.tags
        and not module.data_segments
        and all(entry.type.mutable and entry.type.value in (I32, I64) for entry in module.globals)
        and [entry.mode for entry in module.elements] in ([Mode.ACTIVE], [Mode.ACTIVE, Mode.PASSIVE])
        and module.elements[0].table == len(module.imported(Kind.TABLE)) + len(module.tables) - 1
    )
