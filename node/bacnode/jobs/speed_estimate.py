"""How long it takes here to fetch and to compile, learnt from what was done."""

from __future__ import annotations

from dataclasses import dataclass

from bacnode.runtime.plan import Plan

#: What a new measurement counts, beside all before it.
_WEIGHT = 0.3


@dataclass(slots=True)
class Speeds:
    """Bytes a millisecond, as they were lately; before anything was measured, careful guesses."""

    fetch: float = 1_000.0
    compile: float = 300.0

    def learn(self, plan: Plan) -> None:
        """Take in how long the modules of a plan took."""
        fetched = [module for module in plan.modules if module.source in ("peer", "gateway", "kubo")]
        self.fetch = _mean(self.fetch, sum(m.bytes for m in fetched), sum(m.fetch_ms for m in fetched))
        compiled = [module for module in plan.modules if not module.compiled_cached]
        self.compile = _mean(self.compile, sum(m.bytes for m in compiled), sum(m.compile_ms for m in compiled))

    def start_ms(self, missing_bytes: int, uncompiled_bytes: int) -> float:
        """How long until something could start that lacks so much."""
        return missing_bytes / self.fetch + uncompiled_bytes / self.compile


def _mean(before: float, size: int, milliseconds: float) -> float:
    if size <= 0 or milliseconds <= 0:
        return before
    return (1 - _WEIGHT) * before + _WEIGHT * size / milliseconds
