"""Many nodes, simulated: the objective and Dask's own choice among workers, with time and networks made up.

A node has one thread and a network of its own; jobs come one after the other, at even intervals. What is real is who is
chosen: `distributed.scheduler.decide_worker`, and `placement.start_seconds` as its objective. What is not: that the
scheduler knows at once what each node holds, and that nothing fails.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from bacnode.schedulers.placement import start_seconds

#: `modules`: by what nodes hold; `load`: where least is to do, as Dask without keys of modules; `random`.
Policy: TypeAlias = Literal["modules", "load", "random"]


@dataclass(frozen=True, slots=True)
class Program:
    """What one program needs, by module, in bytes."""

    sizes: dict[str, int]
    run_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stream of jobs cost."""

    moved_bytes: int
    mean_start_seconds: float
    nodes_used: int


@dataclass(eq=False, slots=True)
class _Node:
    free_at: float = 0.0
    holds: set[str] = field(default_factory=set)
    held_bytes: int = 0


@dataclass(eq=False, slots=True)
class _Key:
    """As much of a `TaskState` as `decide_worker` looks at."""

    who_has: set[_Node]


@dataclass(eq=False, slots=True)
class _Task:
    dependencies: list[_Key]
    actor: bool = False
    loose_restrictions: bool = False


def simulate(
    programs: Sequence[Program], stream: Sequence[int], count: int, policy: Policy, *, bandwidth: float,
    interval_seconds: float, seed: int = 0,
) -> Outcome:  # fmt: skip
    """Run a stream of jobs, each the number of a program, on so many nodes that hold nothing at first."""
    from bacnode.schedulers.dask.internals import choose

    # So many, and from a seed, that a run can be told again.
    chance = random.Random(seed)
    nodes = [_Node() for _ in range(count)]
    everyone = set(nodes)
    keys: dict[str, _Key] = {}
    present = _Key(everyone)
    now = moved = 0.0
    starts = []
    for number in stream:
        program = programs[number]
        total = sum(program.sizes.values())
        here: dict[_Node, int] = {}
        for cid, size in program.sizes.items():
            for node in keys[cid].who_has if cid in keys else ():
                here[node] = here.get(node, 0) + size

        def objective(node: Any, total: int = total, here: dict[_Node, int] = here, at: float = now) -> Any:
            missing = total - here.get(node, 0) if policy == "modules" else 0
            return start_seconds(max(node.free_at - at, 0.0), 1, missing, bandwidth), node.held_bytes

        if policy == "random":
            chosen: _Node = chance.choice(nodes)
        else:
            held = [keys[cid] for cid in program.sizes if cid in keys] if policy == "modules" else []
            task: Any = _Task([present, *held])
            chosen = choose(task, everyone, objective)
        missing = total - here.get(chosen, 0)
        moved += missing
        started = max(chosen.free_at, now) + missing / bandwidth
        starts.append(started - now)
        chosen.free_at = started + program.run_seconds
        for cid, size in program.sizes.items():
            if cid not in chosen.holds:
                chosen.holds.add(cid)
                chosen.held_bytes += size
                keys.setdefault(cid, _Key(set())).who_has.add(chosen)
        now += interval_seconds
    used = sum(bool(node.holds) for node in nodes)
    return Outcome(round(moved), sum(starts) / max(len(starts), 1), used)


def zipf(programs: int, jobs: int, seed: int = 0) -> list[int]:
    """A stream of jobs: the most popular program twice as often as the second, three times as the third."""
    chance = random.Random(seed)
    order = chance.sample(range(programs), programs)
    return chance.choices(order, [1 / rank for rank in range(1, programs + 1)], k=jobs)
