"""Fitting a blob to shared modules that exist already: which of its functions they hold, and with which slots.

A function fits a place in a module when both have one shape and equal constants, its differing constants give each slot
one value, and its calls go to functions that fit the places called. What does not fit any longer once all of this is
required together stays with the blob, so the choice is made in rounds: first everything that could fit, then less.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bacpack.split.abi.operands import LateCall, SlotRead
from bacpack.split.catalog.published_code import Existing, ExistingFunction, Literal, ModuleCall
from bacpack.split.model.costs import FETCH_WEIGHT, IMPORT_COST
from bacpack.split.shapes.fingerprint import Blob, Function

#: A module and a place in it.
Place = tuple[str, int]
#: A slot or an entry of a private table: (module, kind, number).
Setting = tuple[str, str, int]
_WORDS = {"c": 0xFFFF_FFFF, "l": 0xFFFF_FFFF_FFFF_FFFF}
_SLOT, _LATE = "slot", "late"


@dataclass(slots=True)
class Fit:
    """How a blob fits existing modules."""

    #: Function index in the blob -> the place that holds it.
    places: dict[int, Place] = field(default_factory=dict)
    #: The value of each slot, without sign, and the function index of each entry of a private table.
    settings: dict[Setting, int] = field(default_factory=dict)

    def slots(self, cid: str) -> dict[int, int]:
        """The values of the slots of a module."""
        return self._settings_of(cid, _SLOT)

    def late(self, cid: str) -> dict[int, int]:
        """The functions in the private table of a module."""
        return self._settings_of(cid, _LATE)

    def _settings_of(self, cid: str, wanted: str) -> dict[int, int]:
        return {
            number: value for (module, kind, number), value in self.settings.items() if (module, kind) == (cid, wanted)
        }


def fit(blob: Blob, modules: Mapping[str, Existing]) -> Fit:
    """Fit `blob` to those of `modules`, by CID, that are worth their bytes."""
    candidates = _Candidates(blob, modules)
    chosen = _choose(blob, modules, candidates)
    while True:
        found = _Fitting(blob, candidates.within(chosen)).solve()
        used: Counter[str] = Counter()
        for index, (cid, _) in found.places.items():
            used[cid] += blob.functions[index - blob.imported_functions].size
        needed = _with_lower(modules, {cid for cid in chosen if used[cid] > _price(modules[cid])})
        if needed >= chosen:
            return found
        chosen &= needed


def _price(module: Existing) -> float:
    """What using a module costs in bytes: see `model/costs`."""
    return IMPORT_COST + FETCH_WEIGHT * len(module.data)


def _with_lower(modules: Mapping[str, Existing], chosen: Iterable[str]) -> set[str]:
    """Modules and all those that they import."""
    out: set[str] = set()
    pending = list(chosen)
    while pending:
        cid = pending.pop()
        if cid not in out:
            out.add(cid)
            pending += [lower for lower in modules[cid].lower if lower in modules]
    return out


def _choose(blob: Blob, modules: Mapping[str, Existing], candidates: _Candidates) -> set[str]:
    """Modules that together hold most of the blob, each for functions that those before it lack."""
    missing = set(candidates.by_function)
    chosen: set[str] = set()
    holds: dict[str, set[int]] = defaultdict(set)
    for position, places in candidates.by_function.items():
        for cid, _ in places:
            holds[cid].add(position)
    while holds:
        worth = {
            cid: sum(blob.functions[position].size for position in positions & missing) - _price(modules[cid])
            for cid, positions in holds.items()
        }
        best = max(worth, key=lambda cid: (worth[cid], cid))
        if worth[best] <= 0:
            break
        chosen.add(best)
        missing -= holds.pop(best)
    return _with_lower(modules, chosen)


class _Candidates:
    """For each function of a blob, by position, the places that hold one of its shape and constants."""

    def __init__(self, blob: Blob, modules: Mapping[str, Existing]) -> None:
        by_shape: dict[bytes, list[tuple[Place, ExistingFunction]]] = defaultdict(list)
        for cid, module in sorted(modules.items()):
            for position, existing in enumerate(module.functions):
                by_shape[existing.shape].append(((cid, position), existing))
        self.exports = {
            (cid, name): (cid, position)
            for cid, module in modules.items()
            for position, name in module.exported.items()
        }
        self.functions = dict(entry for entries in by_shape.values() for entry in entries)
        self.by_function: dict[int, list[Place]] = {}
        for position, function in enumerate(blob.functions):
            if function.shape is None:
                continue
            places = [place for place, other in by_shape.get(function.shape, ()) if _has_literals(function, other)]
            if places:
                self.by_function[position] = places

    def callee(self, call: ModuleCall, caller: str) -> Place | None:
        """The place that a function in the module `caller` calls."""
        if isinstance(call.function, int):
            return call.cid or caller, call.function
        return self.exports.get((call.cid or caller, call.function))

    def within(self, chosen: set[str]) -> _Candidates:
        """The same for some of the modules."""
        out = object.__new__(_Candidates)
        out.exports, out.functions = self.exports, self.functions
        out.by_function = {}
        for position, places in self.by_function.items():
            if kept := [place for place in places if place[0] in chosen]:
                out.by_function[position] = kept
        return out


def _has_literals(function: Function, other: ExistingFunction) -> bool:
    return all(
        operand.value == value
        for value, operand in zip(function.operands, other.operands, strict=True)
        if isinstance(operand, Literal)
    )


class _Fitting:
    """Finds places for functions such that all of them agree."""

    def __init__(self, blob: Blob, candidates: _Candidates) -> None:
        self._blob = blob
        self._first = blob.imported_functions
        self._candidates = candidates
        self._weights = self._dependents()
        #: What each function at each place asks for: settings, and places of the functions that it calls.
        self._asks: dict[tuple[int, Place], tuple[list[tuple[Setting, int]], list[tuple[int, Place | None]]]] = {}

    def _dependents(self) -> dict[int, int]:
        """For each function how many are lost without it: all that call it, directly or through others."""
        known = self._candidates.by_function
        above = {position: 1 << number for number, position in enumerate(known)}
        functions = self._blob.functions
        calls = {p: {callee - self._first for callee in functions[p].calls} & known.keys() for p in known}
        changed = True
        while changed:
            changed = False
            for position, callees in calls.items():
                for callee in callees:
                    more = above[callee] | above[position]
                    if more != above[callee]:
                        above[callee] = more
                        changed = True
        return {position: callers.bit_count() for position, callers in above.items()}

    def solve(self) -> Fit:
        by_function = self._candidates.by_function
        places = {position: choices[0] for position, choices in by_function.items() if len(choices) == 1}
        by_choice = {position: choices for position, choices in by_function.items() if len(choices) > 1}
        for _ in range(3):
            settings, called = self._votes(places)
            # Functions that are alike in all are alike in their order: tables are placed in runs of it.
            taken = Counter(places[position] for position in places if position not in by_choice)
            chosen: dict[int, Place] = {}
            for position, choices in by_choice.items():
                best = min(
                    choices,
                    key=lambda place: (
                        -self._agreement(position, place, settings, called, places),
                        taken[place],
                        place,
                    ),
                )
                chosen[position] = best
                taken[best] += 1
            places |= chosen
        return self._agreed(places)

    def _ask(self, position: int, place: Place) -> tuple[list[tuple[Setting, int]], list[tuple[int, Place | None]]]:
        known = self._asks.get((position, place))
        if known is None:
            known = self._asks[position, place] = self._work_out(position, place)
        return known

    def _work_out(
        self, position: int, place: Place
    ) -> tuple[list[tuple[Setting, int]], list[tuple[int, Place | None]]]:
        settings: list[tuple[Setting, int]] = []
        calls: list[tuple[int, Place | None]] = []
        function, cid = self._blob.functions[position], place[0]
        operands = self._candidates.functions[place].operands
        for kind, value, operand in zip(function.kinds, function.operands, operands, strict=True):
            if isinstance(operand, SlotRead):
                settings.append(((cid, _SLOT, operand.slot), value - operand.add & _WORDS[kind]))
            elif isinstance(operand, LateCall):
                settings.append(((cid, _LATE, operand.entry), value))
            elif isinstance(operand, ModuleCall):
                calls.append((value - self._first, self._candidates.callee(operand, cid)))
        return settings, calls

    def _votes(self, places: Mapping[int, Place]) -> tuple[dict[Setting, int], dict[int, Counter[Place | None]]]:
        """What most functions ask for."""
        votes: dict[Setting, Counter[int]] = defaultdict(Counter)
        called: dict[int, Counter[Place | None]] = defaultdict(Counter)
        for position, place in places.items():
            for callee, wanted in self._ask(position, place)[1]:
                called[callee][wanted] += 1
        for position, place in places.items():
            # Who calls it through a table does not care where it is, so nothing else is lost with it.
            is_called_there = position in called and called[position][place] > 0
            for setting, value in self._ask(position, place)[0]:
                votes[setting][value] += self._weights[position] if is_called_there else 1
        return {
            setting: max(values, key=lambda value: (values[value], -value)) for setting, values in votes.items()
        }, called

    def _agreement(
        self,
        position: int,
        place: Place,
        settings: Mapping[Setting, int],
        called: Mapping[int, Counter[Place | None]],
        places: Mapping[int, Place],
    ) -> int:
        """How well a place goes with what others ask for."""
        asked, calls = self._ask(position, place)
        score = 4 * called[position][place] if position in called else 0
        for setting, value in asked:
            if setting in settings:
                score += 1 if settings[setting] == value else -4
        for callee, wanted in calls:
            if callee in places:
                score += 1 if places[callee] == wanted else -4
        return score

    def _agreed(self, places: dict[int, Place]) -> Fit:
        """Leave out what disagrees with the rest, and what calls it, until all agree.

        What could be at several places is moved to another first: most callers of it then agree again.
        """
        tried = {position: {place} for position, place in places.items()}
        while True:
            settings, called = self._votes(places)
            wrong = [
                position
                for position, place in places.items()
                if not self._agrees(self._ask(position, place), settings, places)
            ]
            if not wrong:
                return Fit({self._first + position: place for position, place in sorted(places.items())}, settings)
            moved: dict[int, Place] = {}
            for position in wrong:
                others = [place for place in self._candidates.by_function[position] if place not in tried[position]]
                if others:
                    moved[position] = min(
                        others, key=lambda at: (-self._agreement(position, at, settings, called, places), at)
                    )
                    tried[position].add(moved[position])
            places |= moved
            if not moved:
                for position in wrong:
                    del places[position]

    @staticmethod
    def _agrees(
        asks: tuple[Sequence[tuple[Setting, int]], Sequence[tuple[int, Place | None]]],
        settings: Mapping[Setting, int],
        places: Mapping[int, Place],
    ) -> bool:
        asked, calls = asks
        return all(settings[setting] == value for setting, value in asked) and all(
            wanted is not None and places.get(callee) == wanted for callee, wanted in calls
        )
