"""Placing shared functions in programs' tables: runs of them that stand together in every program are placed as one.

A table is a program's own, but its linker fills it in the order in which objects come, so functions of one object stand
next to each other in many programs. A shared module knows such *runs of entries* and places each at the index that
it is given; what stands in no run a remainder copies from the module's table of functions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from bacpack.split.abi.words import MOST_WORDS
from bacpack.split.catalog.published_code import Existing
from bacpack.split.plan.demand import Demand
from bacpack.split.plan.resolution import Plan

#: Bytes: a word of a remainder, a copy in its start function, a run in a module, an import with its call.
_WORD_COST, _COPY_COST, _RUN_COST, _PLACER_COST = 4, 12, 21, 82


@dataclass(frozen=True, slots=True)
class EntryRun:
    """Functions of a shared module, by position, that stand next to each other."""

    functions: tuple[int, ...]
    #: For each blob that has all of them so, the index of the first in its table.
    starts: dict[int, int]


#: What one function of a module places: so many runs as it takes words.
Placer = Sequence[EntryRun]
#: Which function of a module, by position, stands where in a program's table. One may stand there several times.
Table = dict[int, int]


def place(plan: Plan, demands: Sequence[Demand]) -> list[list[Placer]]:
    """The functions by which each module of `plan` places its functions."""
    tables: list[dict[int, Table]] = [{} for _ in plan.modules]
    for blob, demand in enumerate(demands):
        for index, (module, position) in demand.placed:
            if index:  # zero says that a program has no such run
                tables[module].setdefault(blob, {})[index] = position
    return [
        _fitted(module.existing, tables[number]) if module.existing else list(_grouped(tables[number]))
        for number, module in enumerate(plan.modules)
    ]


def left_over(placers: Sequence[Placer], blob: int, placed: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of (index, position) pairs, those that no run places for a blob."""
    done = {
        (run.starts[blob] + offset, position)
        for run in chain.from_iterable(placers)
        if blob in run.starts
        for offset, position in enumerate(run.functions)
    }
    return [pair for pair in placed if pair not in done]


def _fitted(existing: Existing, tables: dict[int, Table]) -> list[Placer]:
    """What places functions of an existing module, each run for the blobs in whose table it stands so."""
    places: dict[int, dict[int, list[int]]] = {}
    for blob, table in tables.items():
        places[blob] = defaultdict(list)
        for index, position in sorted(table.items(), reverse=True):
            places[blob][position].append(index)

    def starts(functions: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        for blob, table in tables.items():
            for first in reversed(places[blob][functions[0]]):
                if all(table.get(first + offset) == position for offset, position in enumerate(functions)):
                    places[blob][functions[0]].remove(first)  # the next run like this stands elsewhere
                    yield blob, first
                    break

    return [[EntryRun(functions, dict(starts(functions))) for functions in placer] for placer in existing.placers]


def _grouped(tables: dict[int, Table]) -> Iterator[Placer]:
    """One placer for all users of a module, and others for users that have many runs of their own."""
    common: list[EntryRun] = []
    rare: dict[tuple[int, ...], list[EntryRun]] = defaultdict(list)
    for run in _entry_runs(tables):
        with_it, without = len(run.starts), len(tables) - len(run.starts)
        saved = with_it * (_COPY_COST * len(run.functions) - _WORD_COST)
        if without * _WORD_COST + _RUN_COST < saved:
            common.append(run)
        else:
            rare[tuple(run.starts)].append(run)
    groups = [common]
    for users, entry_runs in sorted(rare.items()):
        copies = sum(len(run.functions) for run in entry_runs) * _COPY_COST
        cost = _PLACER_COST + (_WORD_COST + _RUN_COST / len(users)) * len(entry_runs)
        if cost < copies:
            groups.append(entry_runs)
    for group in groups:
        for first in range(0, len(group), MOST_WORDS):
            yield group[first : first + MOST_WORDS]


def _entry_runs(tables: dict[int, Table]) -> Iterator[EntryRun]:
    """Functions that stand together in every blob that has any of them."""
    # The second place of a function is another entry than its first.
    entries: dict[int, dict[tuple[int, int], int]] = {}
    at: dict[int, dict[int, tuple[int, int]]] = {}
    users: dict[tuple[int, int], list[int]] = defaultdict(list)
    for blob, table in sorted(tables.items()):
        seen: Counter[int] = Counter()
        entries[blob], at[blob] = {}, {}
        for index, position in sorted(table.items()):
            entry = position, seen[position]
            seen[position] += 1
            entries[blob][entry], at[blob][index] = index, entry
            users[entry].append(blob)
    following: dict[tuple[int, int], tuple[int, int]] = {}
    for entry in sorted(users):
        candidates = {at[blob].get(entries[blob][entry] + 1) for blob in users[entry]}
        after = candidates.pop()
        if not candidates and after is not None and users[after] == users[entry]:
            following[entry] = after
    for head in sorted(users.keys() - set(following.values())):
        run = [head]
        while run[-1] in following:
            run.append(following[run[-1]])
        functions = tuple(position for position, _ in run)
        yield EntryRun(functions, {blob: entries[blob][head] for blob in users[head]})
