"""One request to one peer for one block, measured and verified."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bacnode.fetch.source_health import MOST_AT_ONCE, Busy, Health
from bacnode.peers.hedged_request import Attempt
from bacpack.content.cid.block import MAX_BLOCK_BYTES, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.errors import CheckFailedError
from bacpack.http_client import HttpClient, RequestError
from bacpack.ipfs_clients import GatewayClient

#: The longest pause that a peer may ask for.
_LONGEST_PAUSE = 30.0
#: How often one who waits for a place looks whether it is still needed.
_LOOK_SECONDS = 0.2


@dataclass(eq=False, slots=True)
class Peer:
    """A peer that may be asked."""

    url: str
    may_be_anywhere: bool
    health: Health
    busy: Busy = field(default_factory=Busy)
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_AT_ONCE))
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_busy(self, now: float) -> bool:
        """Whether it asked to be left alone until later than `now`, a time of `time.monotonic`."""
        return self.busy.until > now

    def client(self, http: HttpClient) -> GatewayClient:
        """Return what asks it."""
        return GatewayClient(http, self.url, "peer", self.may_be_anywhere)


@dataclass(slots=True)
class _Progress:
    started: float
    first_byte: float | None = None
    size: int | None = None


def ask_peer(http: HttpClient, peer: Peer, cid: Cid, attempt: Attempt) -> bytes:
    """Return a block from a peer, verified, and note how it did.

    Raises `MissingBlockError`, `RequestError`, `CheckFailedError` (`block-mismatch`), and `UnreachableError`.
    """
    with peer.lock:
        peer.under_way += 1
    try:
        with _slot(peer, attempt):
            progress = _Progress(time.monotonic())
            attempt.hedge_at = progress.started + peer.health.hedge_first_byte()
            try:
                block = _ask(http, peer, cid, attempt, progress)
            except BaseException as error:
                _note_failure(peer, error, attempt, progress)
                raise
            if attempt.cancel.cancelled:
                return block
            ended = time.monotonic()
            assert progress.first_byte is not None
            with peer.lock:
                first_byte = progress.first_byte - progress.started
                peer.health.answered(time.time(), first_byte, len(block), ended - progress.first_byte)
            return block
    finally:
        with peer.lock:
            peer.under_way -= 1


@contextmanager
def _slot(peer: Peer, attempt: Attempt) -> Iterator[None]:
    """Wait until the peer is sent so few requests that it may be sent another, or until the attempt is ended."""
    while not peer.slots.acquire(timeout=_LOOK_SECONDS):
        if attempt.cancel.cancelled:
            raise RequestError(peer.url, "another was quicker")
    try:
        if attempt.cancel.cancelled:
            raise RequestError(peer.url, "another was quicker")
        yield
    finally:
        peer.slots.release()


def _ask(http: HttpClient, peer: Peer, cid: Cid, attempt: Attempt, progress: _Progress) -> bytes:
    def on_head(size: int | None) -> None:
        progress.first_byte = time.monotonic()
        progress.size = MAX_BLOCK_BYTES if size is None else min(size, MAX_BLOCK_BYTES)
        attempt.hedge_at = progress.first_byte + peer.health.hedge_body(progress.size)

    return peer.client(http).block(cid, only_local=True, cancel=attempt.cancel, on_head=on_head)


def _note_failure(peer: Peer, error: BaseException, attempt: Attempt, progress: _Progress) -> None:
    now, ended = time.time(), time.monotonic()
    with peer.lock:
        if isinstance(error, CheckFailedError):
            peer.health.sent_corrupt(now, error.message)
        elif isinstance(error, MissingBlockError):
            peer.health.lacked(now, (progress.first_byte or ended) - progress.started)
        elif attempt.cancel.cancelled:
            # From when it began to be slow.
            since = progress.started if progress.first_byte is None else progress.first_byte
            size = progress.size if progress.first_byte is not None else None
            peer.health.lost_race(now, ended - since, size)
        elif isinstance(error, RequestError) and error.seconds is not None:
            peer.busy.asked_for(ended, min(error.seconds, _LONGEST_PAUSE))
        else:
            peer.health.failed(now, str(getattr(error, "reason", error)))
