"""Which constant a load or store takes its address from: a walk over the operand stack, as validation does it.

Source: WebAssembly Core Specification 3.0, appendix "Validation Algorithm".
"""

from __future__ import annotations

from dataclasses import dataclass

from bacpack.wasm.errors import WasmError
from bacpack.wasm.limits import MAX_RESULTS
from bacpack.wasm.module import Module
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader

#: `i32.const 0`.
ZERO = b"\x41\x00"

# What plain instructions take from the stack and put on it, by opcode.
_ARITY: dict[int, tuple[int, int]] = {
    0x01: (0, 0),
    0x1A: (1, 0),
    0x1B: (3, 1),
    0x20: (0, 1),
    0x21: (1, 0),
    0x22: (1, 1),
    0x23: (0, 1),
    0x24: (1, 0),
    **dict.fromkeys(range(0x28, 0x36), (1, 1)),  # loads
    **dict.fromkeys(range(0x36, 0x3F), (2, 0)),  # stores
    0x3F: (0, 1),
    0x40: (1, 1),
    **dict.fromkeys(range(0x41, 0x45), (0, 1)),  # constants
    **dict.fromkeys((0x45, 0x50), (1, 1)),  # eqz
    **dict.fromkeys((*range(0x46, 0x50), *range(0x51, 0x67)), (2, 1)),  # comparisons
    **dict.fromkeys((*range(0x67, 0x6A), *range(0x79, 0x7C), *range(0x8B, 0x92), *range(0x99, 0xA0)), (1, 1)),
    **dict.fromkeys((*range(0x6A, 0x79), *range(0x7C, 0x8B), *range(0x92, 0x99), *range(0xA0, 0xA7)), (2, 1)),
    **dict.fromkeys(range(0xA7, 0xC5), (1, 1)),  # conversions
}
_ARITY_FC = {**dict.fromkeys(range(8), (1, 1)), 10: (3, 0), 11: (3, 0)}
_UNREACHABLE, _BLOCK, _LOOP, _IF, _ELSE, _END = 0x00, 0x02, 0x03, 0x04, 0x05, 0x0B
_BR, _BR_IF, _BR_TABLE, _RETURN, _CALL, _CALL_INDIRECT = 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11
_RETURN_CALL, _RETURN_CALL_INDIRECT = 0x12, 0x13


@dataclass(slots=True)
class _Frame:
    """A block that is open: what it takes and gives, and the height of the stack below it."""

    params: int
    results: int
    is_loop: bool
    height: int

    @property
    def label_arity(self) -> int:
        return self.params if self.is_loop else self.results


def constant_bases(module: Module, code: bytes) -> dict[int, tuple[int, int]]:
    """Find the loads and stores in `code` whose address is an `i32.const 0` that nothing else can see.

    Returns, by position of the access, the position of the constant and the access's offset. An instruction whose
    effect on the stack is not known ends the search: then nothing is returned, which is always right.
    """
    walk = _Walk(module)
    reader = Reader(code)
    try:
        while reader.remaining:
            at = reader.position
            row, values = reader.instruction()
            if not walk.step(at, row, values, code):
                return {}
    except (WasmError, IndexError):
        return {}  # malformed code is reported by those who must understand it
    return walk.found


class _Walk:
    """The operand stack while code is walked: for each entry the position of the `i32.const 0` it is, or None."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._stack: list[int | None] = []
        # Nothing follows the body's end; but a branch to it may carry all that there is on the stack.
        self._frames = [_Frame(0, MAX_RESULTS, is_loop=False, height=0)]
        self.found: dict[int, tuple[int, int]] = {}

    def _pop(self) -> int | None:
        """Take an entry; below the innermost block the stack is unreachable code's, of which nothing is known."""
        return self._stack.pop() if len(self._stack) > self._frames[-1].height else None

    def _apply(self, pops: int, pushes: int) -> bool:
        for _ in range(pops):
            self._pop()
        self._stack += [None] * pushes
        return True

    def _forget(self, count: int) -> bool:
        """Leave the topmost `count` entries where they are, but no longer take them for constants."""
        known = len(self._stack) - self._frames[-1].height
        count = min(count, known)
        self._stack[len(self._stack) - count :] = [None] * count
        return True

    def _unreachable(self) -> bool:
        del self._stack[self._frames[-1].height :]
        return True

    def step(self, at: int, row: Opcode, values: list[int], code: bytes) -> bool:
        """Take the instruction at `at` into account; return whether its effect is known."""
        number = row.number
        if row.prefix is not None:
            arity = _ARITY_FC.get(number) if row.prefix == 0xFC else None
            return self._apply(*arity) if arity else False
        if 0x28 <= number <= 0x3E:
            return self._access(at, is_store=number >= 0x36, memory=values[1], offset=values[2])
        if code.startswith(ZERO, at) and number == ZERO[0]:
            self._stack.append(at)
            return True
        if number in _ARITY:
            return self._apply(*_ARITY[number])
        return self._control(number, values)

    def _access(self, at: int, *, is_store: bool, memory: int, offset: int) -> bool:
        if is_store:
            self._pop()
        base = self._pop()
        if base is not None and memory == 0 and offset < 1 << 32:
            self.found[at] = base, offset
        if not is_store:
            self._stack.append(None)
        return True

    def _control(self, number: int, values: list[int]) -> bool:
        if number in (_BLOCK, _LOOP, _IF):
            return self._open(number, values[0])
        if number == _ELSE:
            frame = self._frames[-1]
            del self._stack[frame.height :]
            return self._apply(0, frame.params)
        if number == _END:
            frame = self._frames[-1]
            del self._stack[frame.height :]
            self._frames.pop()
            return self._apply(0, frame.results)
        if number == _BR_IF:
            self._pop()
            return self._forget(self._frames[-1 - values[0]].label_arity)  # what it carries can be seen elsewhere
        if number in (_UNREACHABLE, _BR, _BR_TABLE, _RETURN, _RETURN_CALL, _RETURN_CALL_INDIRECT):
            return self._unreachable()
        if number in (_CALL, _CALL_INDIRECT):
            index = values[0] if number == _CALL_INDIRECT else self._module.function_types[values[0]]
            type_ = self._module.function_type(index)
            return self._apply(len(type_.params) + (number == _CALL_INDIRECT), len(type_.results))
        return False

    def _open(self, number: int, block_type: int) -> bool:
        if number == _IF:
            self._pop()
        params, results = 0, 0 if block_type == -64 else 1
        if block_type >= 0:
            type_ = self._module.function_type(block_type)
            params, results = len(type_.params), len(type_.results)
        self._apply(params, 0)
        self._frames.append(_Frame(params, results, is_loop=number == _LOOP, height=len(self._stack)))
        return self._apply(0, params)
