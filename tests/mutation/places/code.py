"""Changes of one immediate or one opcode in code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from random import Random

from bacpack.wasm import Kind
from bacpack.wasm.leb128 import encode_signed
from bacpack.wasm.opcodes import OPCODES, Opcode
from bacpack.wasm.types import F32, F64, I32, I64
from mutation.parts import Body, Instruction, Parts
from mutation.places.change import Change, bodies, near, other
from wasmtools import padded_signed, padded_unsigned

#: Another instruction in the place of one; None when it cannot be changed so.
Replace = Callable[[Instruction, Parts, Random], Instruction | None]

_KINDS = {"table": Kind.TABLE, "memory": Kind.MEMORY, "global": Kind.GLOBAL, "tag": Kind.TAG}


def _alike() -> dict[Opcode, list[Opcode]]:
    """For each opcode those with the same immediates that work on the same type."""
    groups: dict[tuple[object, ...], list[Opcode]] = defaultdict(list)
    for row in OPCODES:
        type_, _, operation = row.name.partition(".")
        access = next((word for word in ("load", "store") if operation.startswith(word)), "")
        groups[row.immediates, type_ if operation else "", access].append(row)
    return {row: [entry for entry in group if entry != row] for group in groups.values() for row in group}


_ALIKE = _alike()


def one(replace_: Replace) -> Change:
    """The change of one instruction, anywhere in code, that can be replaced so."""

    def change(parts: Parts, chance: Random) -> str | None:
        for position, body in bodies(parts, chance):
            for place in chance.sample(range(len(body.code)), min(60, len(body.code))):
                old = body.code[place]
                new = replace_(old, parts, chance)
                if new is not None and new.code != old.code:
                    body.code[place] = new
                    parts.bodies[position] = body.encode()
                    words = f"{old.row.name} {[*old.values]} -> {new.row.name} {[*new.values]}"
                    return f"function {position}, instruction {place}: {words}"
        return None

    return change


def _constant(old: Instruction, _parts: Parts, chance: Random) -> Instruction | None:
    if old.row.name in ("i32.const", "i64.const"):
        return old.with_values(near(chance, old.values[0], 32 if old.row.name == "i32.const" else 64))
    if old.row.name in ("f32.const", "f64.const", "v128.const", "i8x16.shuffle"):
        at = chance.randrange(len(old.row.encoding), len(old.code))
        return replace(old, code=old.code[:at] + bytes([old.code[at] ^ 1 << chance.randrange(8)]) + old.code[at + 1 :])
    return None


def _padded(old: Instruction, _parts: Parts, _chance: Random) -> Instruction | None:
    if old.row.immediates == ("i32",):
        return replace(old, code=old.row.encoding + padded_signed(old.values[0]))
    if old.row.immediates in (("local",), ("func",), ("global",)):
        return replace(old, code=old.row.encoding + padded_unsigned(old.values[0]))
    return None


def _opcode(old: Instruction, _parts: Parts, chance: Random) -> Instruction | None:
    options = _ALIKE[old.row]
    if not options or old.row.name in ("end", "else") or old.row.immediates[:1] in (("local",), ("i32",)):
        return None
    return old.with_row(chance.choice(options))


def _callee(old: Instruction, parts: Parts, chance: Random) -> Instruction | None:
    if old.row.immediates != ("func",):
        return None
    types = [entry.type for entry in parts.imported(Kind.FUNCTION)] + parts.functions
    same = [index for index, type_ in enumerate(types) if type_ == types[old.values[0]]]
    callee = other(chance, same if chance.random() < 0.9 else [*range(len(types))], old.values[0])
    return None if callee is None else old.with_values(callee)


def _called_indirectly(old: Instruction, parts: Parts, chance: Random) -> Instruction | None:
    if old.row.immediates != ("type", "table"):
        return None
    type_, table = old.values
    if chance.random() < 0.5:
        type_ = chance.randrange(len(parts.source.types))
    else:
        table = chance.randrange(parts.count(Kind.TABLE))
    return old.with_values(type_, table)


def _local(old: Instruction, _parts: Parts, chance: Random) -> Instruction | None:
    if old.row.immediates != ("local",):
        return None
    return old.with_values(max(0, old.values[0] + chance.choice((-2, -1, 1, 2))))


def _offset(old: Instruction, _parts: Parts, chance: Random) -> Instruction | None:
    if "memarg" not in old.row.immediates:
        return None
    alignment, memory, offset, *lane = old.values
    return old.with_values(alignment, memory, near(chance, offset) % (1 << 32), *lane)


def _alignment(old: Instruction, _parts: Parts, chance: Random) -> Instruction | None:
    if "memarg" not in old.row.immediates:
        return None
    return old.with_values(chance.randrange(4), *old.values[1:])


def _memory(old: Instruction, parts: Parts, chance: Random) -> Instruction | None:
    if "memarg" not in old.row.immediates or parts.count(Kind.MEMORY) < 2:
        return None
    return old.with_values(old.values[0], chance.randrange(parts.count(Kind.MEMORY)), *old.values[2:])


def _label(old: Instruction, _parts: Parts, chance: Random) -> Instruction | None:
    if old.row.immediates == ("label",):
        return old.with_values(max(0, old.values[0] + chance.choice((-1, 1))))
    if old.row.name == "br_table":
        at = chance.randrange(len(old.values))
        values = [*old.values]
        values[at] = max(0, values[at] + chance.choice((-1, 1)))
        if max(values) < 0x80 and len(values) < 0x80:
            return replace(old, values=tuple(values), code=bytes([old.code[0], len(values) - 1, *values]))
    return None


def _block(old: Instruction, parts: Parts, chance: Random) -> Instruction | None:
    if old.row.immediates != ("block",):
        return None
    simple = [b"\x40", I32, I64, F32, F64, encode_signed(chance.randrange(len(parts.source.types)))]
    return replace(old, code=old.row.encoding + chance.choice(simple))


def _index(old: Instruction, parts: Parts, chance: Random) -> Instruction | None:
    """Of a global, table, memory, tag or segment."""
    places = [at for at, kind in enumerate(old.row.immediates) if kind in _KINDS or kind in ("data", "elem")]
    if not places or old.row.immediates[0] in ("type", "memarg", "block"):
        return None
    at = chance.choice(places)
    kind = old.row.immediates[at]
    count = parts.count(_KINDS[kind]) if kind in _KINDS else len(parts.data if kind == "data" else parts.elements)
    values = [*old.values]
    values[at] = chance.randrange(max(count, 1))
    return old.with_values(*values)


def _declaration(parts: Parts, chance: Random) -> str | None:
    """A group of locals of a function, more or of another type."""
    for position, body in bodies(parts, chance):
        if body.locals:
            at = chance.randrange(len(body.locals))
            number, type_ = body.locals[at]
            if chance.random() < 0.5:
                body.locals[at] = number + chance.choice((-1, 1)), type_
            else:
                body.locals[at] = number, chance.choice((I32, I64, F32, F64))
        else:
            body.locals.append((1, I32))
        return _with(parts, position, body, f"function {position}: its locals")
    return None


def _with(parts: Parts, position: int, body: Body, words: str) -> str:
    parts.bodies[position] = body.encode()
    return words


CHANGES: dict[str, Change] = {
    "constant": one(_constant),
    "padded number": one(_padded),
    "opcode": one(_opcode),
    "callee": one(_callee),
    "indirect call": one(_called_indirectly),
    "local": one(_local),
    "offset": one(_offset),
    "alignment": one(_alignment),
    "memory of an access": one(_memory),
    "label": one(_label),
    "block type": one(_block),
    "index": one(_index),
    "declared locals": _declaration,
}
