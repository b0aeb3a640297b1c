"""Which module imports which, and what that saves: pure functions on names and sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

#: What each module imports directly, by CID.
Imports = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class Sharing:
    """What is saved by keeping each module once."""

    #: Programs: modules that no other imports.
    programs: int
    #: What they would take if each came with a copy of all it needs.
    apart_bytes: int
    #: What they take.
    together_bytes: int

    @property
    def saved_bytes(self) -> int:
        """The difference."""
        return self.apart_bytes - self.together_bytes

    @property
    def saved_percent(self) -> float:
        """The difference, of what they would take."""
        return round(100 * self.saved_bytes / self.apart_bytes, 1) if self.apart_bytes else 0.0


def users_of(imports: Imports) -> dict[str, list[str]]:
    """Return which modules import each directly."""
    users: dict[str, list[str]] = {cid: [] for cid in imports}
    for cid, providers in imports.items():
        for provider in providers:
            if provider in users:
                users[provider].append(cid)
    return users


def reachable(starts: Iterable[str], edges: Imports) -> set[str]:
    """Return what the edges lead to from `starts`, those included; circles do no harm."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        cid = waiting.pop()
        if cid not in found:
            found.add(cid)
            waiting.extend(edges.get(cid, ()))
    return found


def sharing(imports: Imports, sizes: Mapping[str, int]) -> Sharing:
    """Return what is saved among the modules of which the size is known."""
    programs = [cid for cid, users in users_of(imports).items() if not users]
    apart = 0
    for program in programs:
        apart += sum(sizes.get(cid, 0) for cid in reachable([program], imports))
    together = sum(sizes.get(cid, 0) for cid in reachable(programs, imports))
    return Sharing(len(programs), apart, together)


def around(cid: str, imports: Imports) -> dict[str, list[str]]:
    """Return the part of the graph that `cid` needs or that needs it, without edges between other branches."""
    below = reachable([cid], imports)
    above = reachable([cid], users_of(imports))
    kept = below | above
    return {
        each: [
            other
            for other in imports.get(each, ())
            if other in kept and (({each, other} <= below) or ({each, other} <= above))
        ]
        for each in sorted(kept)
        if each in imports
    }
