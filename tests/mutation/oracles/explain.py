"""Why a change that the proof accepted is harmless: the first rule that holds names the class it belongs to.

A rule looks at both releases whole. It never goes by which change was made.
"""

from __future__ import annotations

from dataclasses import fields

from bacpack.wasm import Kind, Module, SectionId
from mutation.oracles.linked import HOST, LinkedRelease
from mutation.oracles.side import Side
from mutation.oracles.snapshot import Camera
from mutation.oracles.twins import DifferentError, check_same
from mutation.parts import Body, Parts
from mutation.release import REMAINDER, Release

#: What a change is called that is seen nowhere, by the one kind of record that it changes.
_UNSEEN = {
    "types": "a type that nothing names",
    "imports": "an import that nothing uses, or what it is declared to be",
    "functions": "the type of a function that is not reached",
    "tables": "a table that is not reached",
    "memories": "a memory that is not reached",
    "tags": "a tag that is not reached",
    "globals": "a global that nothing reads, or what it holds before it is set",
    "exports": "an export that nobody imports, or the order of exports",
    "start": "another way to set the same up",
    "elements": "entries that are copied nowhere or never called",
    "bodies": "code that is never run",
    "data": "data that is copied nowhere, or into what nothing reads",
}


class Explainer:
    """Explains changes of one release, or, if it is no split, of one blob."""

    def __init__(self, release: Release, *, is_split: bool = True) -> None:
        self._release = release
        self._linked = LinkedRelease(release)
        self._camera = Camera()
        self._start = {"has_start": Module.parse(release.blob).start is not None, "is_split": is_split}
        self._before = {backwards: self._side(self._linked, backwards=backwards) for backwards in (False, True)}

    def explain(self, changed: Release) -> tuple[str | None, str]:
        """The class of a change, or None and why it is in none."""
        if set(changed.needed()) != set(changed.modules) and self._is_rest(changed):
            return "a module that is not needed", ""
        if _without_custom(changed) == _without_custom(self._release):
            return "a custom section", ""
        if _numbers_in_shortest_form(changed) == _numbers_in_shortest_form(self._release):
            return "a number written in another way", ""
        try:
            linked = LinkedRelease(changed)
            checked = []
            for backwards, before in self._before.items():
                after = self._side(linked, backwards=backwards)
                if (before.snapshot, after.snapshot) not in checked:
                    check_same(before, after, **self._start)
                    checked.append((before.snapshot, after.snapshot))
            if added := _host(linked) - _host(self._linked):
                raise DifferentError(f"it imports {min(added)} from the host")
        except (DifferentError, KeyError, IndexError) as error:
            return None, f"{type(error).__name__}: {error}"
        return _name(self._release, changed), ""

    def _side(self, linked: LinkedRelease, *, backwards: bool) -> Side:
        return Side(linked, self._camera.take(linked, **self._start, backwards=backwards))

    def _is_rest(self, changed: Release) -> bool:
        return changed.remainder == self._release.remainder


def _host(linked: LinkedRelease) -> set[object]:
    return {thing for kind in Kind for thing in linked.host(kind) if thing.place == HOST}


def _names_as_positions(release: Release) -> list[bytes]:
    """Everything that the remainder needs, each CID replaced by the module's position."""
    places = release.needed()
    numbers = [(place.encode(), b"%0*d" % (len(place), number)) for number, place in enumerate(places)]
    found = []
    for place in [*places, REMAINDER]:
        data = release[place]
        for name, number in numbers:
            data = data.replace(name, number)
        found.append(data)
    return found


def _without_custom(release: Release) -> list[bytes]:
    out = []
    for data in _names_as_positions(release):
        module = Module.parse(data)
        kept = (section for section in module.sections if section.id != SectionId.CUSTOM)
        out.append(b"".join(data[section.start : section.end] for section in kept))
    return out


def _numbers_in_shortest_form(release: Release) -> list[tuple[object, ...]]:
    return [
        (*_records(parts).values(), [_shortest(body) for body in parts.bodies])
        for parts in map(Parts.of, _names_as_positions(release))
    ]


def _records(parts: Parts) -> dict[str, object]:
    """The records of a module but for its code, by name."""
    return {of.name: getattr(parts, of.name) for of in fields(parts) if of.name not in ("source", "custom", "bodies")}


def _shortest(body: bytes) -> object:
    decoded = Body.decode(body)
    return decoded.locals, [(part.row.name, part.values or part.code[1:]) for part in decoded.code]


def _name(before: Release, after: Release) -> str:
    """What was changed and is not seen, by the kinds of records that differ."""
    parts, others = (list(map(Parts.of, _names_as_positions(release))) for release in (before, after))
    if len(parts) != len(others):
        return "more or fewer modules, by way of which all is what it was"
    kinds = {
        name
        for one, two in zip(parts, others, strict=True)
        for name in _UNSEEN
        if getattr(one, name) != getattr(two, name)
    }
    if kinds == {"bodies"}:
        kinds = {"start"} if _only_start(parts, others) else kinds
    if len(kinds) == 1:
        return _UNSEEN[kinds.pop()]
    return "numbers of what is the same: " + ", ".join(sorted(kinds)) if kinds else "the order of modules"


def _only_start(parts: list[Parts], others: list[Parts]) -> bool:
    """Whether no other code than the remainder's start function differs."""
    changed = [
        (at, position)
        for at, (one, two) in enumerate(zip(parts, others, strict=True))
        for position, (body, other) in enumerate(zip(one.bodies, two.bodies, strict=False))
        if body != other
    ]
    last = parts[-1]
    return changed == [(len(parts) - 1, (last.start or 0) - len(last.imported(Kind.FUNCTION)))]
