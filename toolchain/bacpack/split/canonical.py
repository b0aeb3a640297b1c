"""The form in which code is compared: cut at open instructions, accesses to fixed addresses written one way.

LLVM writes an access to a global variable as `i32.const 0`, perhaps the value to store, and a load or store whose
*offset* is the variable's address. Here the address stands in the constant and the offset is zero: zero plus an offset
below 2**32 cannot overflow, so both forms reach the same byte or trap alike.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from operator import itemgetter

from bacpack.wasm import Module
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb import encode_unsigned
from bacpack.wasm.operands import ZERO, constant_bases
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Body
from bacpack.wasm.writer import i32_const

_ACCESSES = frozenset(range(0x28, 0x3F))
_opcode = itemgetter(0)


@lru_cache(maxsize=4096)  # a body that is read again soon, as when there is one blob, is not cut again
def cut(module: Module, body: Body) -> tuple[bytes, list[bytes], list[bytes]]:
    """Return a body's declarations of locals, its closed runs, and the open instructions between them."""
    start = scan.code_start(module.data, body.start, body.end)
    runs, opened = scan.scan(module.data, start, body.end)
    if not _ACCESSES.isdisjoint(map(_opcode, opened)):
        runs, opened = _canonical(module, start, runs, opened)
    return module.data[body.start : start], runs, opened


def _canonical(module: Module, start: int, runs: list[bytes], opened: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Move addresses from offsets to the constants they are added to, and write all padded offsets minimally."""
    code = b"".join(chain.from_iterable(zip(runs, [*opened, b""], strict=True)))
    bases = constant_bases(module, code) if ZERO in code else {}
    pieces: list[tuple[int, bytes, bytes]] = []  # position, old bytes, new bytes, of what changes
    addresses: dict[int, int] = {}
    position = 0
    for run, instruction in zip(runs, [*opened, b""], strict=True):
        at = position + len(run)
        position = at + len(instruction)
        if not instruction or instruction[0] not in _ACCESSES:
            continue
        _, (alignment, memory, offset) = Reader(instruction).instruction()
        if memory:
            continue  # an access to another memory than the environment's keeps its form
        if at in bases:
            addresses[bases[at][0]] = offset
            offset = 0
        pieces.append((at, instruction, instruction[:1] + encode_unsigned(alignment) + encode_unsigned(offset)))
    pieces += [(base, ZERO, i32_const(address)) for base, address in addresses.items()]
    out: list[bytes] = []
    last = 0
    for at, old, new in sorted(pieces):
        out += code[last:at], new
        last = at + len(old)
    canonical = b"".join(out) + code[last:]
    return scan.scan(canonical, 0, len(canonical))
