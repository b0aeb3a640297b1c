"""A release as a host links it: each import is what it names, and each function is read once."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

from bacpack.wasm import Export, Kind
from bacpack.wasm.types import FuncType
from mutation.parts import Body, Parts
from mutation.release import REMAINDER, Release

#: The place of what the host provides.
HOST = "(host)"


class Thing(NamedTuple):
    """What a module or the host has: a function, table, memory, global or tag; or a segment."""

    place: str
    kind: str
    #: Its number there, or for the host's its name.
    index: int | str


class LinkedRelease:
    """The modules of a release that its remainder needs."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.places = [*release.needed(), REMAINDER]
        self.parts = {place: _parts(release[place]) for place in self.places}
        self._types: dict[tuple[str, int], bytes] = {}

    @cached_property
    def exports(self) -> dict[str, dict[str, Export]]:
        """By place and name."""
        return {place: {entry.name: entry for entry in parts.exports} for place, parts in self.parts.items()}

    @cached_property
    def _imported(self) -> dict[tuple[str, Kind], list[Thing]]:
        found: dict[tuple[str, Kind], list[Thing]] = {}
        for place in self.places:  # providers come first
            for kind in Kind:
                found[place, kind] = []
            for entry in self.parts[place].imports:
                kind = entry.kind
                if entry.module in self.parts:
                    export = self.exports[entry.module][entry.name]
                    thing = self.thing(entry.module, kind, export.index, found)
                else:
                    thing = Thing(HOST, kind.name, f"{entry.module} {entry.name}")
                found[place, kind].append(thing)
        return found

    def thing(
        self, place: str, kind: Kind, index: int, imported: dict[tuple[str, Kind], list[Thing]] | None = None
    ) -> Thing:
        """What a module calls by a number."""
        others = (self._imported if imported is None else imported)[place, kind]
        return others[index] if index < len(others) else Thing(place, kind.name, index)

    def host(self, kind: Kind) -> set[Thing]:
        """What of a kind the host provides."""
        return {
            thing for (_, of), things in self._imported.items() if of == kind for thing in things if thing[0] == HOST
        }

    def exported(self) -> set[Thing]:
        """What the host can use."""
        return {self.thing(REMAINDER, entry.kind, entry.index) for entry in self.parts[REMAINDER].exports}

    def defined(self, thing: Thing) -> tuple[Parts, int]:
        """The module that defines a thing, and its number among those of its kind that are defined there."""
        assert isinstance(thing.index, int)
        parts = self.parts[thing.place]
        return parts, thing.index - len(self._imported[thing.place, Kind[thing.kind]])

    def body(self, function: Thing) -> Body:
        """The code of a function."""
        parts, position = self.defined(function)
        return decoded(parts.bodies[position])

    def type_of(self, place: str, index: int) -> bytes:
        """Bytes that are equal for function types that are equal."""
        key = self._types.get((place, index))
        if key is None:
            key = self._types[place, index] = self._type_key(place, index)
        return key

    def _type_key(self, place: str, index: int) -> bytes:
        source = self.parts[place].source
        entry = source.types[index]
        if (
            entry.function
            and entry.alone
            and all(len(part) == 1 for part in entry.function.params + entry.function.results)
        ):
            return repr(entry.function).encode()
        section = next(section for section in source.sections if section.id == 1)
        return repr((index, source.data[section.content : section.end])).encode()

    def function_type(self, function: Thing) -> bytes:
        """The type of a function, likewise; of the host's nothing, for the same name is the same function."""
        if function.place == HOST:
            return b""
        parts, position = self.defined(function)
        return self.type_of(function.place, parts.functions[position])

    def parameters(self, function: Thing) -> FuncType | None:
        """The parameters and results of a function that a module defines."""
        parts, position = self.defined(function)
        return parts.source.types[parts.functions[position]].function


@lru_cache(maxsize=64)
def _parts(data: bytes) -> Parts:
    """A module taken apart, which nobody may change."""
    return Parts.of(data)


@lru_cache(maxsize=1 << 16)
def decoded(body: bytes) -> Body:
    """A function's code, which nobody may change."""
    return Body.decode(body)
