"""Whether two releases are the same program in all that can ever run: the proof's question, asked in the easiest case.

Both come from one split, and differ by one change. So code must be equal instruction by instruction, and all that it
names must be so again. What is set up is taken from snapshots, not worked out. Only what is reached counts: from what
the remainder exports, the blob's start function, and what the host was given.

Three things count by what they stand for: a function that only calls another one with its parameters; a global that is
read and never set once it is set up; and an entry of a table that is called by constants alone.
"""

from __future__ import annotations

from dataclasses import replace

from bacpack.wasm import Kind, Limits, SectionId, TableType
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Element
from mutation.oracles.linked import HOST, Thing
from mutation.oracles.set_up import copied, is_dropped, sets, start_code
from mutation.oracles.side import TRAP, Side, called_by
from mutation.oracles.snapshot import own_start
from mutation.parts import Body, Instruction, Parts
from mutation.release import REMAINDER

_KINDS = {"func": Kind.FUNCTION, "table": Kind.TABLE, "memory": Kind.MEMORY, "global": Kind.GLOBAL, "tag": Kind.TAG}
_SEGMENTS = {"data": "data.drop", "elem": "elem.drop"}
_RARE = frozenset(("heap", "types", "cast", "catches", "field"))


class DifferentError(Exception):
    """The releases are not the same program; the message says where that shows."""


def check_same(before: Side, after: Side, *, has_start: bool, is_split: bool = True) -> None:
    """Raise `DifferentError` unless both are the same.

    `has_start` says that the blob has a start function, which a split calls at the end of its own.
    """
    for side in (before, after):
        side.varying = side.linked.exported()
    while True:
        twins = _Twins(before, after)
        twins.check(has_start=has_start, is_split=is_split)
        # What was taken for constant and is used otherwise as well is not.
        changed = [side.constant & side.named - side.varying for side in (before, after)]
        if not any(changed):
            return
        for side, more in zip((before, after), changed, strict=True):
            side.varying |= more


class _Twins:
    """Pairs of what must be the same, checked until no new ones come."""

    def __init__(self, before: Side, after: Side) -> None:
        self._sides = before, after
        for side in self._sides:
            side.constant, side.named = set(), set()
        self._queue: list[tuple[Thing, Thing]] = []
        self._seen: set[tuple[Thing, Thing]] = set()
        self._to: tuple[dict[Thing, Thing], dict[Thing, Thing]] = {}, {}
        #: Memories and tables that code grows, and those that may grow to another size than before.
        self._grown: set[Thing] = set()
        self._bounded_otherwise: set[Thing] = set()

    def check(self, *, has_start: bool, is_split: bool) -> None:
        """Raise `DifferentError` at the first difference."""
        before, after = self._sides
        if before.snapshot.trap or after.snapshot.trap:
            if before.snapshot.trap != after.snapshot.trap:
                raise DifferentError(f"set-up: {before.snapshot.trap} and {after.snapshot.trap}")
            return
        exports, others = before.linked.exports[REMAINDER], after.linked.exports[REMAINDER]
        if {name: entry.kind for name, entry in exports.items()} != {
            name: entry.kind for name, entry in others.items()
        }:
            raise DifferentError("the exports differ")
        for name, entry in exports.items():
            self._named(REMAINDER, REMAINDER, entry.kind, entry.index, others[name].index)
        for side in self._sides:
            if any("_initialize" in side.linked.exports[place] for place in side.linked.places if place != REMAINDER):
                raise DifferentError("a module has `_initialize`, which hosts call by themselves")
        if has_start:
            self._functions(*(self._start(side, is_split=is_split) for side in self._sides))
        for kind in (Kind.TABLE, Kind.MEMORY, Kind.GLOBAL):
            for thing in before.linked.host(kind) & after.linked.host(kind):
                self._add(thing, thing)
        while self._queue:
            self._pair(*self._queue.pop())
        if self._grown & self._bounded_otherwise:
            raise DifferentError(f"{min(self._grown & self._bounded_otherwise)}: what it may grow to")

    def _start(self, side: Side, *, is_split: bool) -> Thing | None:
        _, start = own_start(side.linked.parts[REMAINDER], is_split=is_split)
        if start is None:
            raise DifferentError("there is no start function")
        return side.target(side.linked.thing(REMAINDER, Kind.FUNCTION, start))

    def _named(self, place: str, other: str, kind: Kind, index: int, other_index: int) -> None:
        thing = self._sides[0].linked.thing(place, kind, index)
        other_thing = self._sides[1].linked.thing(other, kind, other_index)
        if kind == Kind.FUNCTION:
            targets = self._sides[0].target(thing), self._sides[1].target(other_thing)
            # Which module calls the host is seen where it is called from.
            self._functions(*(
                called_by(target, at) if target and target == of and target.place == HOST else target
                for target, of, at in zip(targets, (thing, other_thing), (place, other), strict=True)
            ))  # fmt: skip
        else:
            self._add(thing, other_thing)

    def _functions(self, function: Thing | None, other: Thing | None) -> None:
        if function is None or other is None:
            if function is not other:
                raise DifferentError(f"{function} and {other}")
            return
        self._add(function, other)

    def _add(self, thing: Thing, other: Thing) -> None:
        if (thing, other) not in self._seen:
            self._seen.add((thing, other))
            self._queue.append((thing, other))

    def _pair(self, thing: Thing, other: Thing) -> None:
        if thing.kind != other.kind or (HOST in (thing.place, other.place) and thing != other):
            raise DifferentError(f"{thing} and {other}")
        if thing.kind == Kind.FUNCTION.name:
            if thing.place != HOST:
                self._code(thing, other)
            return
        if thing.kind.startswith((Kind.FUNCTION.name, TRAP)):
            return
        for here, one, two in ((0, thing, other), (1, other, thing)):
            self._sides[here].named.add(one)
            if self._to[here].setdefault(one, two) != two:
                raise DifferentError(f"{one} stands for two")
        self._contents(thing, other)

    def _contents(self, thing: Thing, other: Thing) -> None:
        if thing.kind in _SEGMENTS:
            self._segments(thing, other)
            return
        snapshot, other_snapshot = (side.snapshot for side in self._sides)
        if thing.place != HOST and self._type(0, thing) != self._type(1, other):
            if _unbounded(self._type(0, thing)) != _unbounded(self._type(1, other)):
                raise DifferentError(f"{thing} and {other}: their types")
            self._bounded_otherwise.add(thing)
        if thing.kind == Kind.MEMORY.name:
            if snapshot.memories[thing] != other_snapshot.memories[other]:
                raise DifferentError(f"{thing} and {other}: what they hold")
        elif thing.kind == Kind.GLOBAL.name and thing in snapshot.globals:
            if snapshot.globals[thing] != other_snapshot.globals.get(other):
                raise DifferentError(f"{thing} and {other}: what they hold")
        elif thing.kind == Kind.TABLE.name and thing in snapshot.tables:
            entries, others = snapshot.tables[thing], other_snapshot.tables.get(other, [])
            if len(entries) != len(others):
                raise DifferentError(f"{thing} and {other}: their sizes")
            for one, two in zip(entries, others, strict=True):
                self._functions(self._sides[0].target(one), self._sides[1].target(two))
        elif thing.place != HOST and thing.kind != Kind.TAG.name:
            self._declared(thing, other)

    def _type(self, side: int, thing: Thing) -> object:
        parts, position = self._sides[side].linked.defined(thing)
        if thing.kind == Kind.TABLE.name:
            return parts.tables[position].type
        if thing.kind == Kind.MEMORY.name:
            return parts.memories[position]
        if thing.kind == Kind.GLOBAL.name:
            return parts.globals[position].type
        return self._sides[side].linked.type_of(thing.place, parts.tags[position])

    def _declared(self, thing: Thing, other: Thing) -> None:
        """What the engine cannot be asked for is as it was: all that its module declares and does to set it up is."""
        (parts, position), (others, other_position) = (
            side.linked.defined(one) for side, one in zip(self._sides, (thing, other), strict=True)
        )
        touched = sets(parts, thing) or sets(others, other)
        if position != other_position or (touched and start_code(parts) != start_code(others)):
            raise DifferentError(f"{thing} and {other}: what they hold cannot be known")
        if thing.kind == Kind.GLOBAL.name:
            self._expression(thing.place, other.place, parts.globals[position].init, others.globals[position].init)
            return
        self._expression(thing.place, other.place, parts.tables[position].init, others.tables[position].init)
        segments, other_segments = (copied(of, one.index) for of, one in ((parts, thing), (others, other)))
        if len(segments) != len(other_segments):
            raise DifferentError(f"{thing} and {other}: how many segments there are")
        for segment, other_segment in zip(segments, other_segments, strict=True):
            self._elements(thing.place, other.place, segment, other_segment)

    def _segments(self, thing: Thing, other: Thing) -> None:
        assert isinstance(thing.index, int)
        assert isinstance(other.index, int)
        parts, others = (side.linked.parts[at.place] for side, at in zip(self._sides, (thing, other), strict=True))
        drop = _SEGMENTS[thing.kind]
        if is_dropped(parts, drop, thing.index) != is_dropped(others, drop, other.index):
            raise DifferentError(f"{thing} and {other}: whether they are dropped")
        if thing.kind == "elem":
            self._elements(thing.place, other.place, parts.elements[thing.index], others.elements[other.index])
        elif replace(parts.data[thing.index], offset=None) != replace(others.data[other.index], offset=None):
            raise DifferentError(f"{thing} and {other}: what they hold")

    def _elements(self, place: str, other: str, one: Element, two: Element) -> None:
        if (one.mode, one.table, one.type, len(one)) != (two.mode, two.table, two.type, len(two)):
            raise DifferentError(f"element segments of {place or 'the remainder'}")
        self._expression(place, other, one.offset, two.offset)
        for expression, other_expression in zip(one.expressions or (), two.expressions or (), strict=True):
            self._expression(place, other, expression, other_expression)
        for index, other_index in zip(one.functions or (), two.functions or (), strict=True):
            self._named(place, other, Kind.FUNCTION, index, other_index)

    def _code(self, function: Thing, other: Thing) -> None:
        sides = self._sides
        body, other_body = sides[0].linked.body(function), sides[1].linked.body(other)
        same_type = sides[0].linked.function_type(function) == sides[1].linked.function_type(other)
        if (
            not same_type
            or _locals(body.locals) != _locals(other_body.locals)
            or len(body.code) != len(other_body.code)
        ):
            raise DifferentError(f"{function} and {other}: their types, locals or sizes")
        # Loads and stores name the first memory without saying so.
        if all(
            side.linked.parts[of.place].count(Kind.MEMORY) for side, of in zip(sides, (function, other), strict=True)
        ):
            self._named(function.place, other.place, Kind.MEMORY, 0, 0)
        place = 0
        while place < len(body.code):
            one, two = body.code[place], other_body.code[place]
            following = body.code[place + 1 : place + 2], other_body.code[place + 1 : place + 2]
            if all(
                next_ and side.calls_entry(of.place, part, next_[0])
                for side, of, part, next_ in zip(sides, (function, other), (one, two), following, strict=True)
            ) and (following[0][0].row == following[1][0].row):
                self._functions(*(
                    side.target(side.called(of.place, part, next_[0]))
                    for side, of, part, next_ in zip(sides, (function, other), (one, two), following, strict=True)
                ))  # fmt: skip
                place += 2
                continue
            self._instruction(function.place, other.place, one, two)
            place += 1

    def _instruction(self, place: str, other: str, one: Instruction, two: Instruction) -> None:
        number, other_number = self._constant(0, place, one), self._constant(1, other, two)
        if number is not None and number == other_number:
            return
        if one.row != two.row:
            raise DifferentError(f"{_words(one)} and {_words(two)} in {place or 'the remainder'}")
        kinds = [kind for kind in one.row.immediates for _ in range(3 if kind == "memarg" else 1)]
        if len(kinds) != len(one.values) or _RARE & set(kinds):
            self._rare(place, other, one, two)
            return
        if one.row.name in ("memory.grow", "table.grow"):
            self._grown.add(self._sides[0].linked.thing(place, _KINDS[kinds[0]], one.values[0]))
        for at, (kind, value, other_value) in enumerate(zip(kinds, one.values, two.values, strict=True)):
            if kind in _KINDS or (kind == "memarg" and at == 1):
                self._named(place, other, _KINDS.get(kind, Kind.MEMORY), value, other_value)
            elif kind in _SEGMENTS:
                self._add(Thing(place, kind, value), Thing(other, kind, other_value))
            elif kind == "type" or (kind == "block" and value >= 0):
                same = self._type_of(0, place, value) == self._type_of(1, other, other_value)
                if not same:
                    raise DifferentError(f"{_words(one)} and {_words(two)} in {place or 'the remainder'}")
            elif value != other_value or (kind == "block" and one.code != two.code):
                raise DifferentError(f"{_words(one)} and {_words(two)} in {place or 'the remainder'}")

    def _type_of(self, side: int, place: str, index: int) -> bytes:
        return self._sides[side].linked.type_of(place, index)

    def _rare(self, place: str, other: str, one: Instruction, two: Instruction) -> None:
        """Instructions whose immediates are not all numbers: they must say the same, byte by byte."""
        kinds = one.row.immediates
        names_types = any(of == "heap" and value >= 0 for of, value in zip(kinds, one.values, strict=False))
        names_types |= bool(_RARE & set(kinds)) and bool({0x63, 0x64} & set(one.code))
        same: list[object] = [
            _type_section(side.linked.parts[at]) for side, at in zip(self._sides, (place, other), strict=True)
        ]
        if kinds[:1] == ("block",) and one.values[0] >= 0:
            same = [self._type_of(0, place, one.values[0]), self._type_of(1, other, two.values[0])]
            names_types = True
        if one.code != two.code or (names_types and same[0] != same[1]):
            raise DifferentError(f"{_words(one)} and {_words(two)} in {place or 'the remainder'}")
        if "memarg" in kinds:
            self._named(place, other, Kind.MEMORY, one.values[1], two.values[1])
        for tag in _tags(one) if "catches" in kinds else ():
            self._named(place, other, Kind.TAG, tag, tag)

    def _expression(self, place: str, other: str, one: bytes | None, two: bytes | None) -> None:
        """Constant expressions that give the same."""
        code, other_code = (Body.decode(b"\0" + part).code if part else [] for part in (one, two))
        if len(code) != len(other_code):
            raise DifferentError(f"expressions of {place or 'the remainder'}")
        for part, other_part in zip(code, other_code, strict=True):
            self._instruction(place, other, part, other_part)

    def _constant(self, side: int, place: str, instruction: Instruction) -> object:
        """The number that an instruction puts on the stack, where it is a global that counts as constant."""
        if instruction.row.name != "global.get":
            return None
        this = self._sides[side]
        thing = this.linked.thing(place, Kind.GLOBAL, instruction.values[0])
        if not this.is_constant(thing):
            return None
        this.constant.add(thing)
        return self._type(side, thing), this.snapshot.globals[thing]


def _tags(instruction: Instruction) -> list[int]:
    """The tags that a `try_table` catches."""
    reader = Reader(instruction.code, len(instruction.row.encoding))
    if instruction.code[reader.position] in (0x63, 0x64):
        reader.value_type()
    else:
        reader.s33("a block type")
    tags = []
    for _ in range(reader.u32("the number of handlers")):
        if reader.byte() < 2:
            tags.append(reader.u32("a tag"))
        reader.u32("a label")
    return tags


def _unbounded(type_: object) -> object:
    """The type of a memory or table without what it may grow to."""
    if isinstance(type_, Limits):
        return replace(type_, maximum=None)
    return replace(type_, limits=replace(type_.limits, maximum=None)) if isinstance(type_, TableType) else type_


def _words(instruction: Instruction) -> str:
    return f"{instruction.row.name} {[*instruction.values]}"


def _locals(groups: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Locals, however they are declared."""
    joined: list[tuple[int, bytes]] = []
    for number, type_ in groups:
        if joined and joined[-1][1] == type_:
            joined[-1] = joined[-1][0] + number, type_
        elif number:
            joined.append((number, type_))
    return joined


def _type_section(parts: Parts) -> list[bytes]:
    source = parts.source
    return [source.data[section.content : section.end] for section in source.sections if section.id == SectionId.TYPE]
