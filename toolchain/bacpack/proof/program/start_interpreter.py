"""Carrying out a remainder's start function up to where it calls the blob's own.

Only straight lines are understood: constants, parameters and locals, globals, growing with a trap on failure, loading
and storing numbers, filling memory, copying and dropping segments, parts that are skipped when a constant is zero, and
calls of functions that are such lines themselves or apply chained fix-ups. Anything else means that the split is not
accepted.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, TypeVar

from bacpack.proof.code.constant_expressions import Value, combine, literal
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.module_view import Instruction, type_bytes
from bacpack.proof.program.chained_fixups import FixUps, apply_fix_ups, find_fix_ups
from bacpack.proof.program.initial_state import StartTrapError, State
from bacpack.proof.program.linked_program import Address, Instance, LinkedProgram
from bacpack.wasm import FuncType, Kind
from bacpack.wasm.types import I32

T = TypeVar("T", bytes, "array[int]")

_CONSTANTS = frozenset(
    ("i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "ref.null", "ref.func", "global.get")
)
_ARITHMETIC = frozenset(("i32.add", "i32.sub", "i32.mul", "i64.add", "i64.sub", "i64.mul"))
#: How many bytes they store.
_STORES = {"i32.store8": 1, "i32.store16": 2, "i32.store": 4, "i64.store": 8}
#: How many bytes they load, and the type of the number.
_LOADS = {"i32.load": (4, "i32"), "i64.load": (8, "i64")}
_VOID = -64
#: What must follow an instruction that grows: where it fails, instantiating the blob would have failed.
_TRAP_IF_MINUS_ONE = [("i32.const", [-1]), ("i32.eq", []), ("if", [_VOID]), ("unreachable", []), ("end", [])]
#: The type of a function without parameters and results.
_NOTHING = type_bytes(FuncType((), ()))
_DEEPEST_CALL = 8
#: Bytes: a whole memory filled again and again would take too long to follow.
_MOST_FILLED = 65_536
#: What the locals of a function that is called hold at first, by the encoding of what they are declared as.
_LOCALS: dict[bytes, list[Value]] = {b"\0": [], b"\1\1" + I32: [(("i32", 0),)]}


def run_start(program: LinkedProgram, state: State, remainder: Instance, *, calls_own: bool) -> Address | None:
    """Carry out the start function of `remainder`; raises `StartTrapError` when it traps.

    When `calls_own` says that the blob has a start function, the last instruction must be a call, which is not carried
    out: its target is returned.
    """
    start = remainder.view.module.start
    if start is None:
        if calls_own:
            raise not_equivalent("the start function of the blob is never called: the remainder has none")
        return None
    function = remainder.address(Kind.FUNCTION, start)
    if program.host(function) or program.owner(function)[0] is not remainder:
        raise not_equivalent("the start function of the remainder is not one of its own functions")
    if program.function_key(function) != _NOTHING:
        raise not_equivalent("the start function of the remainder has parameters or results")
    instructions = remainder.view.instructions(start)
    if not calls_own:
        _Runner(program, state).run(remainder, instructions, ())
        return None
    if len(instructions) < 2 or instructions[-2][0].name != "call":
        raise not_equivalent("the start function of the remainder does not end by calling that of the blob")
    _Runner(program, state).run(remainder, [*instructions[:-2], instructions[-1]], ())
    return remainder.address(Kind.FUNCTION, instructions[-2][1][0])


class _Line(NamedTuple):
    """A function that is called."""

    instance: Instance
    #: How many it takes.
    parameters: int
    #: What its locals hold at first.
    locals: list[Value]
    instructions: list[Instruction]


class _Runner:
    def __init__(self, program: LinkedProgram, state: State) -> None:
        self._program = program
        self._state = state
        self._depth = 0
        self._lines: dict[Address, _Line] = {}
        self._fix_ups: dict[Address, tuple[Instance, FixUps]] = {}

    def run(self, instance: Instance, instructions: Sequence[Instruction], given: Sequence[Value]) -> None:
        """Carry out a function's instructions, from what its parameters and locals hold; it returns nothing."""
        self._state.spend(len(instructions))  # without limits, calls that double at each level would never end
        if self._depth > _DEEPEST_CALL:
            raise not_equivalent("the start function of the remainder does more than can be followed")
        stack: list[Value] = []
        locals_ = list(given)
        position = open_ = 0
        while position < len(instructions) - 1:
            instruction = instructions[position]
            position += 1
            name = instruction[0].name
            if name == "local.get" and instruction[1][0] < len(locals_):
                stack.append(locals_[instruction[1][0]])
            elif name == "local.tee" and instruction[1][0] < len(locals_):
                stack.append(_pop(stack))
                locals_[instruction[1][0]] = stack[-1]
            elif name in _LOADS:
                stack.append(self._load(instance, instruction, _pop(stack)))
            elif name in _CONSTANTS:
                stack.append(self._state.constant(instance, instruction))
            elif name in ("memory.grow", "table.grow"):
                following = [(row.name, values) for row, values, _ in instructions[position : position + 5]]
                if following != _TRAP_IF_MINUS_ONE:
                    _not_understood(instance, instruction, "its failure is not turned into a trap")
                position += 5
                self._grow(instance, instruction, stack)
            elif name == "if" and instruction[1] == [_VOID]:
                if not _number(_pop(stack)):
                    position = _after_end(instance, instructions, position)
                else:
                    open_ += 1
            elif name == "end" and open_:
                open_ -= 1
            elif name in _ARITHMETIC:
                second, first = _pop(stack), _pop(stack)
                self._state.spend(len(first) + len(second))
                stack.append(combine(combine(first, second), ((name, 0),)))
            else:
                self._effect(instance, instruction, stack)
        if stack or instructions[-1][0].name != "end":
            raise not_equivalent(f"a function of {instance.view.title} leaves more than the start function can use")

    def _effect(self, instance: Instance, instruction: Instruction, stack: list[Value]) -> None:
        row, values, _ = instruction
        state = self._state
        if row.name == "global.set":
            address = instance.address(Kind.GLOBAL, values[0])
            if address not in state.globals:
                _not_understood(instance, instruction, "it sets a global of the host")
            state.globals[address] = _pop(stack)
        elif row.name in _STORES:
            self._store(instance, instruction, stack)
        elif row.name == "call":
            self._call(instance, instruction, stack)
        elif row.name == "memory.init":
            content = self._part(stack, state.data.get((instance.number, values[0]), b""))
            state.fill_memory(instance.address(Kind.MEMORY, values[1]), _pop(stack), content)
        elif row.name == "memory.fill":
            count, byte = _number(_pop(stack)), _number(_pop(stack))
            if count > _MOST_FILLED:
                _not_understood(instance, instruction, "it fills more than can be followed")
            state.fill_memory(instance.address(Kind.MEMORY, values[0]), _pop(stack), bytes([byte & 0xFF]) * count)
        elif row.name == "table.init":
            references = self._part(stack, state.elements.get((instance.number, values[0]), array("I")))
            state.fill_table(instance.address(Kind.TABLE, values[1]), _pop(stack), references)
        elif row.name == "table.copy":
            count, first = _number(_pop(stack)), _number(_pop(stack))
            references = state.entries(instance.address(Kind.TABLE, values[1]), first, count)
            state.fill_table(instance.address(Kind.TABLE, values[0]), _pop(stack), references)
        elif row.name == "data.drop":
            state.data[instance.number, values[0]] = b""
        elif row.name == "elem.drop":
            state.elements[instance.number, values[0]] = array("I")
        else:
            _not_understood(instance, instruction, "the start function may only set things up")

    def _call(self, instance: Instance, instruction: Instruction, stack: list[Value]) -> None:
        function = instance.address(Kind.FUNCTION, instruction[1][0])
        if function in self._fix_ups or self._has_fix_ups(function):
            owner, how = self._fix_ups[function]
            distance, at = _number(_pop(stack)), _number(_pop(stack))
            apply_fix_ups(self._state, owner.address(Kind.MEMORY, 0), at, distance, how)
            return
        if function not in self._lines:
            self._lines[function] = self._line(instance, instruction, function)
        line = self._lines[function]
        if len(stack) < line.parameters:
            _not_understood(instance, instruction, "parameters are missing")
        first = len(stack) - line.parameters
        given = [*stack[first:], *line.locals]
        del stack[first:]
        self._depth += 1
        self.run(line.instance, line.instructions, given)
        self._depth -= 1

    def _has_fix_ups(self, function: Address) -> bool:
        """Whether a function applies chained fix-ups; what it does with them is noted."""
        if function in self._lines or self._program.host(function):
            return False
        owner, index = self._program.owner(function)
        if how := find_fix_ups(owner.view, index):
            self._fix_ups[function] = owner, how
        return how is not None

    def _line(self, instance: Instance, instruction: Instruction, function: Address) -> _Line:
        if self._program.host(function):
            _not_understood(instance, instruction, "it calls the host")
        callee, index = self._program.owner(function)
        type_ = callee.view.module.function_type(callee.view.module.function_types[index])
        start, code, _ = callee.view.span(index)
        locals_ = _LOCALS.get(callee.view.module.data[start:code])
        if type_.results or locals_ is None:
            _not_understood(instance, instruction, "the function called has results, or more locals than one i32")
        return _Line(callee, len(type_.params), locals_, callee.view.instructions(index))

    def _grow(self, instance: Instance, instruction: Instruction, stack: list[Value]) -> None:
        row, values, _ = instruction
        count = _number(_pop(stack))
        if row.name == "memory.grow":
            self._state.grow_memory(instance.address(Kind.MEMORY, values[0]), count)
        else:
            self._state.grow_table(instance.address(Kind.TABLE, values[0]), _pop(stack), count)

    def _load(self, instance: Instance, instruction: Instruction, at: Value) -> Value:
        row, values, _ = instruction
        _, memory, offset = values
        size, type_ = _LOADS[row.name]
        content = self._state.load(instance.address(Kind.MEMORY, memory), _number(at) + offset, size)
        return ((type_, int.from_bytes(content, "little")),)

    def _store(self, instance: Instance, instruction: Instruction, stack: list[Value]) -> None:
        row, values, _ = instruction
        _, memory, offset = values
        number, at, size = _number(_pop(stack)), _number(_pop(stack)), _STORES[row.name]
        address = instance.address(Kind.MEMORY, memory)
        if address not in self._state.memories:
            _not_understood(instance, instruction, "it writes to a memory of the host")
        content = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
        self._state.fill_memory(address, (("i64", at + offset),), content)

    @staticmethod
    def _part(stack: list[Value], segment: T) -> T:
        """The part of a segment that an instruction copies; it traps when the segment is shorter."""
        count, first = _number(_pop(stack)), _number(_pop(stack))
        if first + count > len(segment):
            raise StartTrapError(f"a segment is shorter than the {count} that are copied from {first}")
        return segment[first : first + count]


def _after_end(instance: Instance, instructions: Sequence[Instruction], position: int) -> int:
    """Where what follows an `if` ends, which stands before `position` and has no `else`."""
    depth = 1
    while depth:
        if position >= len(instructions) - 1 or instructions[position][0].name in ("else", "block", "loop"):
            _not_understood(instance, instructions[min(position, len(instructions) - 1)], "it is within an `if`")
        depth += (instructions[position][0].name == "if") - (instructions[position][0].name == "end")
        position += 1
    return position


def _pop(stack: list[Value]) -> Value:
    if not stack:
        raise not_equivalent("the start function takes a value that is not there")
    return stack.pop()


def _number(value: Value) -> int:
    number = literal(value)
    if number is None:
        raise not_equivalent("the start function depends on a number that is not a constant")
    return number


def _not_understood(instance: Instance, instruction: Instruction, why: str) -> NoReturn:
    raise not_equivalent(f"the start function runs `{instruction[0].name}` in {instance.view.title}: {why}")
