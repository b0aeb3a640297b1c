"""Which global of a program lives in which register of the environment.

Functions are shared when they name the same registers, so a global must get the same one in every program, though each
program is looked at alone. Linkers declare the stack pointer first and little else, but some compilers declare it last,
and all variables of program and libraries before it. What programs have in common are libraries: more functions use
their globals than use one of the program's own. So the global that most functions use gets the first register.

It is a guess about sharing, not about meaning: with any other choice the program would behave as before.
"""

from __future__ import annotations

from collections import Counter

from bacpack.split.abi.environment import REGISTERS
from bacpack.wasm import Kind, Module
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_unsigned
from bacpack.wasm.types import I32, I64


def assign_registers(module: Module) -> dict[int, int]:
    """Return the number of the register for each global of `module`, by its index, that can live in one."""
    users: Counter[int] | None = None
    assigned: dict[int, int] = {}
    for type_ in (I32, I64):
        declared = [
            index
            for index, entry in enumerate(module.globals, len(module.imported(Kind.GLOBAL)))
            if entry.type.mutable and entry.type.value == type_
        ]
        if len(declared) > 1:
            users = _users(module) if users is None else users
            declared.sort(key=users.__getitem__, reverse=True)  # which keeps the order of those with as many
        registers = (number for number, register in enumerate(REGISTERS) if register.type.value == type_)
        assigned |= dict(zip(declared, registers, strict=False))
    return assigned


def _users(module: Module) -> Counter[int]:
    """How many functions use each global."""
    users: Counter[int] = Counter()
    for body in module.bodies:
        start = scan.code_start(module.data, body.start, body.end)
        _, opened = scan.scan(module.data, start, body.end)
        users.update(
            {
                decode_unsigned(instruction, 1)[0]
                for instruction in opened
                if instruction[0] in (scan.GLOBAL_GET, scan.GLOBAL_SET)
            }
        )
    return users
