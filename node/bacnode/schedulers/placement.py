"""The objective of placement, pure: a job goes where it is expected to start first.

    start = work ahead of it / threads + bytes of its modules that are not there / bandwidth

Of nodes that are equal, the one that holds least. Nodes that may not or cannot run the job are no candidates. Dask
minimises the same: `Scheduler.worker_objective`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

#: Why a node was not chosen; None for the one that was.
Reason: TypeAlias = Literal["proprietary", "memory", "missing", "busy", "equal"]


@dataclass(frozen=True, slots=True)
class NodeView:
    """What is known of a node."""

    name: str
    threads: int = 1
    #: Seconds that the jobs which it has been given still need.
    backlog_seconds: float = 0.0
    jobs: int = 0
    #: Modules that it holds, as far as they matter to the job.
    holds: frozenset[str] = frozenset()
    #: Proprietary modules that only it, and others that say so, may use.
    offers: frozenset[str] = frozenset()
    #: Bytes that its jobs may use; None where it does not say.
    memory_bytes: int | None = None
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What placement is told of a job."""

    #: The size of each module, by CID.
    sizes: Mapping[str, int]
    #: Proprietary modules.
    only_at: frozenset[str] = frozenset()
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows for one node."""

    node: str
    chosen: bool
    reason: Reason | None
    message: str
    missing: tuple[str, ...] = ()
    missing_bytes: int = 0
    #: Until the job would start; None where it cannot.
    start_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Costed:
    view: NodeView
    missing: tuple[str, ...]
    missing_bytes: int
    start: float = field(default=0.0)


def missing_bytes(need: Need, view: NodeView) -> int:
    """Bytes that would have to move to a node."""
    return sum(size for cid, size in need.sizes.items() if cid not in view.holds)


def start_seconds(backlog_seconds: float, threads: int, missing: float, bandwidth: float) -> float:
    """The objective."""
    return backlog_seconds / threads + missing / bandwidth


def refusal(need: Need, view: NodeView) -> tuple[Reason, str] | None:
    """Why a node is no candidate."""
    absent = sorted(need.only_at - view.offers)
    if absent:
        return "proprietary", f"it may not use {absent[0]}, which its holders do not give away"
    if need.memory_bytes is not None and view.memory_bytes is not None and need.memory_bytes > view.memory_bytes:
        return "memory", f"the job may use {need.memory_bytes} bytes of memory, and it has {view.memory_bytes}"
    return None


def place(need: Need, views: Sequence[NodeView], bandwidth: float) -> list[Verdict]:
    """Say of every node whether it is chosen, and why not; none is where none may run the job."""
    costed = [_cost(need, view, bandwidth) for view in views if refusal(need, view) is None]
    best = min(costed, key=lambda one: (one.start, one.view.stored_bytes), default=None)
    by_name = {one.view.name: one for one in costed}
    verdicts = []
    for view in views:
        refused = refusal(need, view)
        if refused is not None:
            verdicts.append(Verdict(view.name, False, *refused))
        elif best is not None:
            verdicts.append(_verdict(by_name[view.name], best))
    return verdicts


def mark(verdicts: Iterable[Verdict], ran_on: str | None) -> list[Verdict]:
    """Say which node a job did run on, where that is another than was expected: nodes change while it is sent."""
    found = list(verdicts)
    if ran_on is None or not any(one.node == ran_on for one in found):
        return found
    return [
        Verdict(one.node, one.node == ran_on, None if one.node == ran_on else one.reason or "equal",
                one.message if one.chosen == (one.node == ran_on) else _MOVED[one.node == ran_on],
                one.missing, one.missing_bytes, one.start_seconds)
        for one in found
    ]  # fmt: skip


_MOVED = {
    True: "it ran here: this node was free before the one that was expected to be",
    False: "it was expected to start here first, and started elsewhere",
}


def _cost(need: Need, view: NodeView, bandwidth: float) -> _Costed:
    missing = tuple(sorted(cid for cid in need.sizes if cid not in view.holds))
    size = missing_bytes(need, view)
    return _Costed(view, missing, size, start_seconds(view.backlog_seconds, view.threads, size, bandwidth))


def _verdict(one: _Costed, best: _Costed) -> Verdict:
    view = one.view
    modules = (
        f"it lacks {len(one.missing)} modules, {one.missing_bytes} bytes" if one.missing else "it has every module"
    )
    ahead = f"{view.jobs} jobs are ahead" if view.jobs else "it is idle"
    message = f"{modules}; {ahead}"
    reason: Reason | None = None
    if one is not best:
        later_by_bytes = one.missing_bytes > best.missing_bytes
        later_by_work = view.backlog_seconds / view.threads > best.view.backlog_seconds / best.view.threads
        reason = "missing" if later_by_bytes else "busy" if later_by_work else "equal"
    return Verdict(view.name, one is best, reason, message, one.missing, one.missing_bytes, one.start)
