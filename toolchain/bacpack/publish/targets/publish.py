"""Publishing a release to all of its targets: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bacpack.errors import BacpackError
from bacpack.publish.release.release import Release
from bacpack.publish.targets.local import CarTarget
from bacpack.publish.targets.target import Missing, OnBlock, Sent, Target, TargetError, bytes_of


class Watch(Protocol):
    """Who is told how far the work is."""

    def asking(self, target: Target) -> object:
        """Be told that a target is asked what it is missing."""

    def sending(self, target: Target, blocks: int, size: int) -> OnBlock:
        """Be told that so many blocks, of so many bytes, are sent to it; return what is told of each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a release at one target."""

    target: Target
    missing: Missing = field(default_factory=Missing)
    sent: Sent | None = None
    error: BacpackError | None = None
    #: Bytes of blocks that are new to it; on a dry run, that would be.
    new_bytes: int = 0

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        status = "failed" if self.error else self.sent.status if self.sent else "dry-run"
        described: dict[str, Any] = {"target": self.target.label, "status": status}
        if not isinstance(self.target, CarTarget):
            described["new_bytes"] = self.new_bytes
        described |= self.sent.facts if self.sent else self.missing.facts
        if self.error:
            described["error"] = {"code": self.error.code, "message": self.error.message, "hint": self.error.hint}
        return described


def publish(release: Release, targets: Sequence[Target], watch: Watch, *, dry_run: bool = False) -> list[Outcome]:
    """Publish to each target in turn; return what became of each.

    A CAR file that cannot be written is an error at once, and nothing is published: it comes first.
    """
    try:
        return [_publish(release, target, watch, dry_run) for target in targets]
    finally:
        for target in targets:
            target.close()


def _publish(release: Release, target: Target, watch: Watch, dry_run: bool) -> Outcome:
    missing = Missing()
    try:
        watch.asking(target)
        missing = target.ask(release)
        missing_bytes = bytes_of(release, missing.cids)
        if dry_run:
            return Outcome(target, missing, new_bytes=missing_bytes)
        sent = target.send(release, missing, watch.sending(target, len(missing.cids), missing_bytes))
    except BacpackError as error:
        if isinstance(target, CarTarget):
            raise
        return Outcome(target, missing, error=error)
    return Outcome(target, missing, sent, new_bytes=sent.bytes)


def failure(outcomes: Sequence[Outcome], described: dict[str, Any]) -> BacpackError | None:
    """Return the error for targets that failed, or None. `described`, the whole result, goes into its details."""
    failed = [outcome for outcome in outcomes if outcome.error]
    if not failed:
        return None
    first = failed[0].error
    assert first is not None
    if len(outcomes) == 1:
        first.details |= {"published": described}
        return first
    why = "; ".join(outcome.error.message for outcome in failed if outcome.error)
    return TargetError(
        "publish-failed",
        f"{len(failed)} of {len(outcomes)} targets failed, the others have the release: {why}",
        hint=first.hint or "publish again: what arrived is not sent twice",
        details={"published": described},
    )
