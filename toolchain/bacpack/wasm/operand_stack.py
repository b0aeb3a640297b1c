"""Which constant a load or store takes its address from: a walk back over what was put on the operand stack since.

What instructions take and put there: WebAssembly Core Specification 3.0, appendix "Validation Algorithm".
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter

from bacpack.wasm.errors import WasmError
from bacpack.wasm.limits import MAX_RESULTS
from bacpack.wasm.module import Module
from bacpack.wasm.reader import Reader
from bacpack.wasm.scanner import instructions

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
_BLOCK, _LOOP, _IF, _ELSE, _END, _BR_IF, _CALL, _CALL_INDIRECT = 0x02, 0x03, 0x04, 0x05, 0x0B, 0x0D, 0x10, 0x11
_OPENING = (_BLOCK, _LOOP, _IF)
#: After these nothing is on the stack of the block that they stand in, or nothing that is known.
_EMPTYING = frozenset((0x00, 0x0C, 0x0E, 0x0F, 0x12, 0x13, _ELSE, *_OPENING))
_ACCESSES = re.compile(rb"[\x28-\x3e]")
_STORES = range(0x36, 0x3F)
#: So many instructions are walked over for each one of the code. Only code made to be slow to read has more.
_MOST_STEPS = 16


def constant_bases(module: Module, code: bytes, least_size: int = 0) -> dict[int, tuple[int, int]]:
    """Find the loads and stores in `code` whose address is an `i32.const 0` that nothing else can see.

    Returns, by position of the access, the position of the constant and the access's offset; of accesses that take
    less than `least_size` bytes, nothing. If the effect of any instruction on the stack is not known, nothing at all
    is returned, which is always right.
    """
    try:
        return _Walk(module, instructions(code)).bases(least_size)
    except (WasmError, LookupError):
        return {}  # malformed code is reported by those who must understand it


class _Effects(dict[bytes, tuple[int, int]]):
    """How many entries each instruction of one module takes and puts; a block as a whole, by the one that opens it."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._module = module

    def __missing__(self, instruction: bytes) -> tuple[int, int]:
        effect = self[instruction] = self._effect(instruction)
        return effect

    def _effect(self, instruction: bytes) -> tuple[int, int]:
        row, values = Reader(instruction).instruction()
        number = row.number
        if row.prefix is not None:
            return _ARITY_FC[number] if row.prefix == 0xFC else _ARITY_FC[-1]
        if number in _OPENING:
            params, results = self.block(instruction)
            return params + (number == _IF), results
        if number in (_CALL, _CALL_INDIRECT):
            index = values[0] if number == _CALL_INDIRECT else self._module.function_types[values[0]]
            type_ = self._module.function_type(index)
            return len(type_.params) + (number == _CALL_INDIRECT), len(type_.results)
        if number in _EMPTYING or number == _END:
            return 0, 0
        return (1, 0) if number == _BR_IF else _ARITY[number]

    def block(self, opening: bytes) -> tuple[int, int]:
        """How many entries a block is given and gives."""
        _, (block_type,) = Reader(opening).instruction()
        if block_type < 0:
            return 0, 0 if block_type == -64 else 1
        type_ = self._module.function_type(block_type)
        return len(type_.params), len(type_.results)


_effects = lru_cache(maxsize=64)(_Effects)


class _Walk:
    """The instructions of one function, walked back from each load and store."""

    def __init__(self, module: Module, code: list[bytes]) -> None:
        self._code = code
        self._opcodes = bytes(map(itemgetter(0), code))
        self._effects = _effects(module)
        self._steps = _MOST_STEPS * len(code)

    def bases(self, least_size: int) -> dict[int, tuple[int, int]]:
        """What `constant_bases` returns."""
        for instruction in set(self._code):  # a difference from a subclass of dict goes through all that it has
            self._effects[instruction]  # which fails for one whose effect is not known
        if self._opcodes.count(_END) != 1 + sum(map(self._opcodes.count, _OPENING)):
            return {}
        positions = [0, *accumulate(map(len, self._code))]
        found: dict[int, tuple[int, int]] = {}
        for access in _ACCESSES.finditer(self._opcodes):
            at = access.start()
            base = self._base(at) if len(self._code[at]) >= least_size else None
            if base is not None:
                _, (_, memory, offset) = Reader(self._code[at]).instruction()
                if memory == 0 and offset < 1 << 32:
                    found[positions[at]] = positions[base], offset
        return found

    def _base(self, at: int) -> int | None:
        """Which `i32.const 0` the access takes its address from, if it is one."""
        above = 1 if self._opcodes[at] in _STORES else 0  # entries on the stack above the address
        while at and self._steps > 0:
            at -= 1
            self._steps -= 1
            opcode = self._opcodes[at]
            if opcode in _EMPTYING:
                return None
            if opcode == _BR_IF and self._carried(at) > above:
                return None  # what it carries can be seen elsewhere
            if opcode == _END:
                at = self._opening(at)
            takes, puts = self._effects[self._code[at]]
            if puts > above:
                return at if self._code[at] == ZERO else None
            above += takes - puts
        return None

    def _carried(self, at: int) -> int:
        """How many entries a branch carries to its label."""
        _, (label,) = Reader(self._code[at]).instruction()
        opening = self._opening(at, label)
        if opening < 0:
            return MAX_RESULTS  # all that is on the stack, perhaps
        params, results = self._effects.block(self._code[opening])
        return params if self._opcodes[opening] == _LOOP else results

    def _opening(self, at: int, outer: int = 0) -> int:
        """The instruction that opens the block around `at`, or so many blocks further out; -1 for the body."""
        while at:
            at -= 1
            self._steps -= 1
            if self._opcodes[at] == _END:
                outer += 1
            elif self._opcodes[at] in _OPENING:
                if not outer:
                    return at
                outer -= 1
        return -1
