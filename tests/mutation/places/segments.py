"""Changes of element and data segments."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from bacpack.wasm import Kind, writer
from bacpack.wasm.leb128 import decode_signed
from bacpack.wasm.types import Mode
from mutation.parts import Parts, Segment
from mutation.places.change import Change, near, other

_ZERO = writer.i32_const(0) + writer.END


def _entry(parts: Parts, chance: Random) -> str | None:
    """One function in an element segment is another, or two change places."""
    segments = [at for at, entry in enumerate(parts.elements) if entry.functions]
    if not segments:
        return None
    at = chance.choice(segments)
    functions = [*(parts.elements[at].functions or ())]
    first, second = chance.randrange(len(functions)), chance.randrange(len(functions))
    if chance.random() < 0.5:
        functions[first], functions[second] = functions[second], functions[first]
    else:
        functions[first] = chance.randrange(parts.count(Kind.FUNCTION))
    parts.elements[at] = replace(parts.elements[at], functions=functions)
    return f"element segment {at}: entry {first}, {second}"


def _entries(parts: Parts, chance: Random) -> str | None:
    """An element segment with one entry more or less."""
    segments = [at for at, entry in enumerate(parts.elements) if entry.functions]
    if not segments:
        return None
    at = chance.choice(segments)
    functions = [*(parts.elements[at].functions or ())]
    place = chance.randrange(len(functions))
    if chance.random() < 0.5:
        del functions[place]
    else:
        functions.insert(place, chance.randrange(parts.count(Kind.FUNCTION)))
    parts.elements[at] = replace(parts.elements[at], functions=functions)
    return f"element segment {at}: {len(functions)} entries"


def _element_mode(parts: Parts, chance: Random) -> str | None:
    if not parts.elements:
        return None
    at = chance.randrange(len(parts.elements))
    old = parts.elements[at]
    mode = other(chance, [*Mode], old.mode)
    assert mode is not None
    offset = (old.offset or _ZERO) if mode == Mode.ACTIVE else None
    table = chance.randrange(max(1, parts.count(Kind.TABLE))) if mode == Mode.ACTIVE else 0
    parts.elements[at] = replace(old, mode=mode, offset=offset, table=table)
    return f"element segment {at}: {old.mode} became {mode}"


def _other_offset(offset: bytes, chance: Random) -> bytes:
    if offset[0] == 0x41 and chance.random() < 0.8:
        return writer.i32_const(near(chance, decode_signed(offset, 1)[0])) + writer.END
    return b"\x23\0" + writer.END if offset[0] == 0x41 else _ZERO


def _element_place(parts: Parts, chance: Random) -> str | None:
    """Where an active element segment goes."""
    segments = [at for at, entry in enumerate(parts.elements) if entry.offset is not None]
    if not segments:
        return None
    at = chance.choice(segments)
    old = parts.elements[at]
    if chance.random() < 0.3 and parts.count(Kind.TABLE) > 1:
        parts.elements[at] = replace(old, table=chance.randrange(parts.count(Kind.TABLE)))
    else:
        parts.elements[at] = replace(old, offset=_other_offset(old.offset or _ZERO, chance))
    return f"element segment {at}: another place"


def _element_count(parts: Parts, chance: Random) -> str | None:
    if not parts.elements:
        return None
    at = chance.randrange(len(parts.elements))
    if chance.random() < 0.5:
        del parts.elements[at]
        return f"element segment {at}: removed"
    parts.elements.insert(at, parts.elements[chance.randrange(len(parts.elements))])
    return f"element segment {at}: put in"


def _byte(parts: Parts, chance: Random) -> str | None:
    """One byte of data."""
    segments = [at for at, entry in enumerate(parts.data) if entry.content]
    if not segments:
        return None
    at = chance.choice(segments)
    content = bytearray(parts.data[at].content)
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    parts.data[at] = replace(parts.data[at], content=bytes(content))
    return f"data segment {at}: byte {place}"


def _bytes(parts: Parts, chance: Random) -> str | None:
    """A data segment with some bytes more or less."""
    if not parts.data:
        return None
    at = chance.randrange(len(parts.data))
    content = parts.data[at].content
    place = chance.randrange(len(content) + 1)
    content = chance.choice((
        content[:-1], content[1:], content[:place] + content[place + 1 :], content + b"\0", content + b"\1",
        content[:place] + b"\x55" + content[place:],
    ))  # fmt: skip
    parts.data[at] = replace(parts.data[at], content=content)
    return f"data segment {at}: {len(content)} bytes"


def _data_place(parts: Parts, chance: Random) -> str | None:
    """Where an active data segment goes."""
    segments = [at for at, entry in enumerate(parts.data) if entry.offset is not None]
    if not segments:
        return None
    at = chance.choice(segments)
    old = parts.data[at]
    if chance.random() < 0.3 and parts.count(Kind.MEMORY) > 1:
        parts.data[at] = replace(old, memory=chance.randrange(parts.count(Kind.MEMORY)))
    else:
        parts.data[at] = replace(old, offset=_other_offset(old.offset or _ZERO, chance))
    return f"data segment {at}: another place"


def _data_mode(parts: Parts, chance: Random) -> str | None:
    if not parts.data:
        return None
    at = chance.randrange(len(parts.data))
    old = parts.data[at]
    if old.mode == Mode.ACTIVE:
        parts.data[at] = Segment(Mode.PASSIVE, 0, None, old.content)
    else:
        parts.data[at] = Segment(Mode.ACTIVE, 0, _ZERO, old.content)
    return f"data segment {at}: no longer {old.mode}"


def _data_count(parts: Parts, chance: Random) -> str | None:
    if not parts.data:
        return None
    at = chance.randrange(len(parts.data))
    if chance.random() < 0.3:
        del parts.data[at]
        return f"data segment {at}: removed"
    if chance.random() < 0.5:
        first, second = at, chance.randrange(len(parts.data))
        parts.data[first], parts.data[second] = parts.data[second], parts.data[first]
        return f"data segments {first} and {second} exchanged"
    parts.data.insert(at, replace(parts.data[at], content=parts.data[at].content[::-1]))
    return f"data segment {at}: put in"


CHANGES: dict[str, Change] = {
    "element": _entry,
    "number of elements": _entries,
    "mode of elements": _element_mode,
    "place of elements": _element_place,
    "number of element segments": _element_count,
    "byte of data": _byte,
    "size of data": _bytes,
    "place of data": _data_place,
    "mode of data": _data_mode,
    "number of data segments": _data_count,
}
