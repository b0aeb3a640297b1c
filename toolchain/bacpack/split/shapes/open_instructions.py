"""The form in which code is compared: cut at open instructions, accesses to fixed addresses written one way.

A read of a global that is a constant (see `constant_globals`) is written as the constant.

LLVM writes an access to a global variable as `i32.const 0`, perhaps the value to store, and a load or store whose
*offset* is the variable's address. Here the address stands in the constant and the offset is zero: zero plus an offset
below 2**32 cannot overflow, so both forms reach the same byte or trap alike.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

from bacpack.split.shapes.constant_globals import constant_globals
from bacpack.wasm import Module
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_unsigned, encode_unsigned
from bacpack.wasm.operand_stack import ZERO, constant_bases
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Body
from bacpack.wasm.writer import i32_const

_ACCESSES = frozenset(range(0x28, 0x3F))
#: Static data lies above this address, and few structures are larger: offsets below are fields.
_LOWEST_ADDRESS = 1024
#: Of an access whose offset takes more than one byte: one that is smaller has no address, and is never open.
_LEAST_SIZE = 4
# A load at zero plus an address: where one stands, the function may hold stores to such places too. That it may also
# match bytes that are no such load does no harm.
_LOAD_AT_ZERO = re.compile(rb"\x41\x00[\x28-\x35][\x00-\x3f](?:[\x80-\xff][\x08-\x7f]|[\x80-\xff]{2,4}[\x00-\x7f])")


#: Declarations of locals, closed runs of code, and the open instructions between them.
Cut = tuple[bytes, list[bytes], list[bytes]]


@lru_cache(maxsize=4096)  # a body that is read again soon, as when there is one blob, is not cut again
def cut(module: Module, body: Body) -> Cut:
    """Return a body cut, its code in the canonical form."""
    locals_, runs, opened = cut_as_written(module, body)
    code = module.data[body.start + len(locals_) : body.end]
    if constants := constant_globals(module):
        code, runs, opened = _read_globals(constants, code, runs, opened)
    padded = any(instruction[-1] == 0 and instruction[0] in _ACCESSES for instruction in opened)
    if padded or _LOAD_AT_ZERO.search(code):
        runs, opened = _canonical(module, code, runs, opened)
    return locals_, runs, opened


def cut_as_written(module: Module, body: Body) -> Cut:
    """Return a body cut, its code as it stands in the module."""
    start = scan.code_start(module.data, body.start, body.end)
    return module.data[body.start : start], *scan.scan(module.data, start, body.end)


def cut_canonical(module: Module, body: Body, code: bytes) -> Cut:
    """Return what `cut` does, where the canonical form of the body's code is known."""
    start = scan.code_start(module.data, body.start, body.end)
    return module.data[body.start : start], *scan.scan(code, 0, len(code))


def _read_globals(
    constants: dict[int, bytes], code: bytes, runs: list[bytes], opened: list[bytes]
) -> tuple[bytes, list[bytes], list[bytes]]:
    """Write the constant in the place of each read of a global that is one."""
    found = {
        instruction: constants[index]
        for instruction in opened
        if instruction[0] == scan.GLOBAL_GET and (index := decode_unsigned(instruction, 1)[0]) in constants
    }
    if not found:
        return code, runs, opened
    written = [found.get(instruction, instruction) for instruction in opened]
    code = b"".join(chain.from_iterable(zip(runs, [*written, b""], strict=True)))
    return code, *scan.scan(code, 0, len(code))


def _canonical(module: Module, code: bytes, runs: list[bytes], opened: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Move addresses from offsets to the constants they are added to, and write all padded offsets minimally."""
    changes: dict[int, tuple[int, bytes]] = {}  # position -> size before, bytes after
    position = 0
    for run, instruction in zip(runs, opened, strict=False):
        at = position + len(run)
        position = at + len(instruction)
        if instruction[0] in _ACCESSES:
            changes[at] = len(instruction), _access(instruction)
    bases = constant_bases(module, code, _LEAST_SIZE) if ZERO in code else {}
    for at, (base, offset) in bases.items():
        if at in changes or offset >= _LOWEST_ADDRESS:
            reader = Reader(code, at)
            reader.instruction()
            changes[at] = reader.position - at, _access(code[at : reader.position], offset=0)
            changes[base] = len(ZERO), i32_const(offset)
    out: list[bytes] = []
    last = 0
    for at, (size, after) in sorted(changes.items()):
        out += code[last:at], after
        last = at + size
    canonical = b"".join(out) + code[last:]
    return scan.scan(canonical, 0, len(canonical))


@lru_cache(maxsize=1 << 16)  # a program has few that differ
def _access(instruction: bytes, offset: int | None = None) -> bytes:
    """A load or store written minimally, with another offset if one is given."""
    _, (alignment, memory, old) = Reader(instruction).instruction()
    if memory:
        return instruction  # an access to another memory than the environment's keeps its form
    return instruction[:1] + encode_unsigned(alignment) + encode_unsigned(old if offset is None else offset)
