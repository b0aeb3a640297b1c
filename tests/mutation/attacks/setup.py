"""Attacks in what sets a program up: code put into the start function, and tables that have something to begin with."""

from __future__ import annotations

from random import Random

from bacpack.wasm import FuncType, Kind, TableType, writer
from bacpack.wasm.types import FUNCREF, I32, Element, Limits, Mode, Table
from mutation.attacks.attack import Attack, add_function, add_type, index
from mutation.parts import Body, Parts
from mutation.release import REMAINDER, Release

_NOTHING = FuncType((), ())
_LARGE = (0, 1, 65_535, 65_536, 10_000_000, (1 << 31) - 1, (1 << 32) - 1)
_TRAP_UNLESS_GROWN = writer.i32_const(-1) + b"\x46\x04\x40\x00\x0b"


def _number(chance: Random) -> bytes:
    return writer.i32_const(chance.choice((*_LARGE, chance.randrange(200))))


def _statements(parts: Parts, chance: Random) -> bytes:
    """A piece of set-up that an honest split may have, with numbers that it would not."""
    number = lambda: _number(chance)  # noqa: E731 - it is said ten times below
    codes: list[bytes] = []
    for memory in range(parts.count(Kind.MEMORY)):
        codes += [
            number() + b"\x40" + index(memory) + _TRAP_UNLESS_GROWN,
            number() + number() + number() + b"\xfc\x0b" + index(memory),
            number() + number() + b"\x36\x02\0",
            number() + number() + number() + b"\xfc\x0a" + index(memory) + index(memory),
        ]
        codes += [
            number() + number() + number() + b"\xfc\x08" + index(segment) + index(memory)
            for segment in range(min(len(parts.data), 4))
        ]
    for table in range(parts.count(Kind.TABLE)):
        codes += [
            b"\xd0\x70" + number() + b"\xfc\x0f" + index(table) + _TRAP_UNLESS_GROWN,
            number() + number() + number() + b"\xfc\x0e" + index(table) + index(table),
            number() + b"\xd0\x70" + number() + b"\xfc\x11" + index(table),
            number() + b"\xd0\x70\x26" + index(table),
        ]
        codes += [
            number() + number() + number() + b"\xfc\x0c" + index(segment) + index(table)
            for segment in range(min(len(parts.elements), 4))
        ]
    codes += [b"\x02\x40\x0b", b"\x03\x40\x0c\0\x0b", number() + b"\x04\x40\x0b", number() + b"\x1a", b"\x0f"]
    for number_, entry in enumerate(parts.imported(Kind.FUNCTION)):
        if parts.types is not None and isinstance(entry.type, int):
            type_ = parts.types[entry.type]
            if not type_.results and set(type_.params) <= {I32}:
                codes.append(b"".join(number() for _ in type_.params) + b"\x10" + index(number_))
    return chance.choice(codes)


def _put_in(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Some statements at the beginning, at the end, or twice."""
    parts = Parts.of(release.remainder)
    code = b"".join(_statements(parts, chance) for _ in range(chance.choice((1, 1, 2, 3))))
    if parts.start is None:
        type_ = add_type(parts, _NOTHING)
        if type_ is None:
            return None
        parts.start = add_function(parts, type_, code)
        return REMAINDER, f"a start function: {code.hex()}", release.changed(REMAINDER, parts.encode())
    position = parts.start - len(parts.imported(Kind.FUNCTION))
    body = parts.bodies[position]
    first = len(Body(Body.decode(body).locals, []).encode())
    end = chance.random() < 0.5
    parts.bodies[position] = body[:-1] + code + writer.END if end else body[:first] + code + body[first:]
    return REMAINDER, f"put into the start function: {code.hex()}", release.changed(REMAINDER, parts.encode())


def _doubling(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Functions that call each other twice, again and again: what is done grows with each."""
    parts = Parts.of(release.remainder)
    type_ = add_type(parts, _NOTHING)
    if type_ is None:
        return None
    depth, times = chance.choice(((7, 20), (40, 2), (2, 3000), (3, 300)))
    callee = add_function(parts, type_, b"")
    for _ in range(depth):
        callee = add_function(parts, type_, (b"\x10" + index(callee)) * times)
    if parts.start is None:
        parts.start = callee
    else:
        position = parts.start - len(parts.imported(Kind.FUNCTION))
        body = parts.bodies[position]
        first = len(Body(Body.decode(body).locals, []).encode())
        parts.bodies[position] = body[:first] + b"\x10" + index(callee) + body[first:]
    return REMAINDER, f"calls {depth} deep, {times} times each", release.changed(REMAINDER, parts.encode())


def _first_value(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """A private table is full of one function from the beginning, and perhaps shorter or longer."""
    cid = chance.choice(release.needed())
    parts = Parts.of(release[cid])
    if not parts.tables or not parts.functions:
        return None
    at = chance.randrange(len(parts.tables))
    type_ = parts.tables[at].type
    minimum = max(0, type_.limits.minimum + chance.choice((-1, 0, 0, 1)))
    function = chance.randrange(parts.count(Kind.FUNCTION))
    maximum = None if type_.limits.maximum is None else max(minimum, type_.limits.maximum)
    init = b"\xd2" + index(function) + writer.END
    parts.tables[at] = Table(TableType(type_.element, Limits(minimum, maximum)), init)
    return cid, f"table {at} of {minimum} entries holds function {function}", release.changed(cid, parts.encode())


def _placed(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """A module or the remainder puts functions into one of its tables, imported or not, by an active segment."""
    place = chance.choice([REMAINDER, *release.needed()])
    parts = Parts.of(release[place])
    tables = parts.count(Kind.TABLE)
    if not tables or not parts.count(Kind.FUNCTION):
        return None
    table, at = chance.randrange(tables), chance.choice((0, 1, chance.randrange(8), 1 << 20))
    functions = [chance.randrange(parts.count(Kind.FUNCTION)) for _ in range(chance.choice((0, 1, 1, 3)))]
    offset = writer.i32_const(at) + writer.END
    parts.elements.append(Element(Mode.ACTIVE, table, offset, FUNCREF, functions, None))
    return place, f"functions {functions} from entry {at} of table {table}", release.changed(place, parts.encode())


ATTACKS: dict[str, Attack] = {
    "put into set-up": _put_in,
    "calls that double": _doubling,
    "first value of a table": _first_value,
    "functions placed": _placed,
}
