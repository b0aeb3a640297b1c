"""What every target is: something that can be asked what it is missing of a release, and sent that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.errors import UnreachableError
from bacpack.publish.release.release import Release

#: Told of each block that was sent: how many of its kind, and its bytes.
OnBlock: TypeAlias = Callable[[int, int], object]

#: What became of a release at a target.
Status: TypeAlias = Literal["pinned", "written"]


class TargetError(UnreachableError):
    """A target could not be published to; the message names it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a target is missing of a release."""

    #: Blocks to send, in the order of a CAR file.
    cids: tuple[Cid, ...] = ()
    #: Whether it keeps the release already, with all that belongs to it.
    pinned: bool = False
    #: What else it said, for `send`.
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent to a target. `facts` go into the JSON beside it."""

    status: Status
    blocks: int = 0
    bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class Target(Protocol):
    """Where a release is published to. Both methods raise `BacpackError`, which names the target."""

    @property
    def label(self) -> str:
        """How `--to`, messages and JSON call it."""

    def ask(self, release: Release) -> Missing:
        """Return what it is missing; nothing is changed there."""

    def send(self, release: Release, missing: Missing, on_block: OnBlock) -> Sent:
        """Send what it is missing and have the release kept."""

    def close(self) -> None:
        """Give back what it holds open."""


def blocks_of(release: Release, cids: Iterable[Cid]) -> tuple[Cid, ...]:
    """Return those of the release's blocks that are in `cids` and can be sent: an identity CID holds its own data."""
    wanted = set(cids)
    return tuple(cid for cid in release.sizes if cid in wanted and not cid.is_identity)


def bytes_of(release: Release, cids: Iterable[Cid]) -> int:
    """Return the size of some blocks of the release."""
    return sum(release.sizes[cid] for cid in cids)


def car_of(release: Release, cids: Iterable[Cid], on_block: OnBlock) -> Iterator[bytes]:
    """Yield a CAR file of some blocks of the release, with the release's root as its own."""

    def read() -> Iterator[tuple[Cid, bytes]]:
        for count, cid in enumerate(cids, 1):
            block = release.dag.get(cid)
            yield cid, block
            on_block(count, len(block))

    return car_chunks([release.root], read())
