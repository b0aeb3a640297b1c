"""Changes of which instructions there are: some removed, said twice, exchanged or put in."""

from __future__ import annotations

from random import Random

from bacpack.wasm.opcodes import OPCODES
from mutation.parts import Body, Instruction, Parts
from mutation.places.change import Change, bodies

_ROWS = {row.name: row for row in OPCODES}
#: What ends a statement: a few constants and what uses them up.
_ENDS = frozenset((
    "call", "global.set", "local.set", "drop", "memory.init", "memory.fill", "memory.copy", "table.init", "table.copy",
    "i32.store", "i64.store", "i32.store8", "data.drop", "elem.drop", "table.set", "table.fill",
))  # fmt: skip
_MOST = 6


def _plain(name: str) -> Instruction:
    return Instruction(_ROWS[name], (), _ROWS[name].encoding)


def _statement(body: Body, chance: Random) -> tuple[int, int] | None:
    """From where to where a statement goes, perhaps."""
    ends = [at for at, instruction in enumerate(body.code) if instruction.row.name in _ENDS]
    if not ends:
        return None
    end = chance.choice(ends)
    return max(0, end - chance.randrange(_MOST)), end + 1


def _removed(parts: Parts, chance: Random) -> str | None:
    for position, body in bodies(parts, chance):
        if found := _statement(body, chance):
            del body.code[slice(*found)]
            parts.bodies[position] = body.encode()
            return f"function {position}: instructions {found[0]} to {found[1]} removed"
    return None


def _repeated(parts: Parts, chance: Random) -> str | None:
    for position, body in bodies(parts, chance):
        if found := _statement(body, chance):
            body.code[found[1] : found[1]] = body.code[slice(*found)]
            parts.bodies[position] = body.encode()
            return f"function {position}: instructions {found[0]} to {found[1]} said twice"
    return None


def _moved(parts: Parts, chance: Random) -> str | None:
    """A statement put before another one."""
    for position, body in bodies(parts, chance):
        first, second = _statement(body, chance), _statement(body, chance)
        if first and second and second[1] <= first[0]:
            taken = body.code[slice(*first)]
            del body.code[slice(*first)]
            body.code[second[0] : second[0]] = taken
            parts.bodies[position] = body.encode()
            return f"function {position}: instructions {first[0]} to {first[1]} moved to {second[0]}"
    return None


def _exchanged(parts: Parts, chance: Random) -> str | None:
    """Two neighbours, as the operands of a subtraction."""
    for position, body in bodies(parts, chance):
        if len(body.code) > 2:
            at = chance.randrange(len(body.code) - 2)
            body.code[at : at + 2] = reversed(body.code[at : at + 2])
            parts.bodies[position] = body.encode()
            return f"function {position}: instructions {at} and {at + 1} exchanged"
    return None


def _put_in(parts: Parts, chance: Random) -> str | None:
    for position, body in bodies(parts, chance):
        at, name = chance.randrange(len(body.code)), chance.choice(("nop", "unreachable", "return", "i32.eqz"))
        body.code.insert(at, _plain(name))
        parts.bodies[position] = body.encode()
        return f"function {position}: `{name}` put in before instruction {at}"
    return None


def _whole(parts: Parts, chance: Random) -> str | None:
    """One function has the code of another of its type."""
    found = [
        (first, second)
        for first, type_ in enumerate(parts.functions[:200])
        for second, other in enumerate(parts.functions[:200])
        if first != second and type_ == other and parts.bodies[first] != parts.bodies[second]
    ]
    if not found:
        return None
    first, second = chance.choice(found)
    parts.bodies[first] = parts.bodies[second]
    return f"function {first} has the code of function {second}"


CHANGES: dict[str, Change] = {
    "statement removed": _removed,
    "statement repeated": _repeated,
    "statement moved": _moved,
    "instructions exchanged": _exchanged,
    "instruction put in": _put_in,
    "code of another": _whole,
}
