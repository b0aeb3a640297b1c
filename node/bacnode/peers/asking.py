"""One request to one peer for one block, measured and verified."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bacnode.peers.book import Told
from bacnode.peers.race import Attempt
from bacnode.peers.standing import MOST_AT_ONCE, Standing
from bacnode.transport import RequestError, Transport
from bacpack.content.blocks import MAX_BLOCK_BYTES, MissingBlockError, block_mismatch
from bacpack.content.cid import Cid
from bacpack.errors import CheckFailedError, InputError

#: Answers that mean "I do not have it".
_NOT_HERE = frozenset((403, 404, 410, 451))
#: The longest pause that a peer may ask for.
_LONGEST_PAUSE = 30.0
#: How often one who waits for a place looks whether it is still needed.
_LOOK_SECONDS = 0.2


@dataclass(eq=False, slots=True)
class Peer:
    """A peer that may be asked."""

    url: str
    told: Told
    standing: Standing
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_AT_ONCE))
    under_way: int = 0
    #: When it may be asked again, since it said that it is busy; a time of `time.monotonic`.
    not_before: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"the peer {self.url}"


@dataclass(slots=True)
class _Progress:
    started: float
    first_byte: float | None = None
    size: int | None = None


def ask_peer(transport: Transport, peer: Peer, cid: Cid, attempt: Attempt, *, any_address: bool) -> bytes:
    """Return a block from a peer, verified, and note how it did.

    Raises `MissingBlockError`, `RequestError`, `CheckFailedError` (`block-mismatch`), and `UnreachableError`.
    """
    with peer.lock:
        peer.under_way += 1
    try:
        with _slot(peer, attempt):
            progress = _Progress(time.monotonic())
            attempt.hedge_at = progress.started + peer.standing.hedge_first_byte()
            try:
                block = _ask(transport, peer, cid, attempt, progress, any_address=any_address)
            except BaseException as error:
                _note_failure(peer, error, attempt, progress)
                raise
            if attempt.cancel.cancelled:
                return block
            ended = time.monotonic()
            assert progress.first_byte is not None
            with peer.lock:
                first_byte = progress.first_byte - progress.started
                peer.standing.answered(time.time(), first_byte, len(block), ended - progress.first_byte)
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


def _ask(
    transport: Transport, peer: Peer, cid: Cid, attempt: Attempt, progress: _Progress, *, any_address: bool
) -> bytes:
    # A gateway that would look elsewhere itself need not: others are asked here.
    headers = {"Accept": "application/vnd.ipld.raw", "Cache-Control": "only-if-cached"}
    url = f"{peer.url}/ipfs/{cid.to_v1()}?format=raw"
    with (
        transport.ended_by(attempt.cancel),
        transport.open("GET", url, headers, any_address=any_address) as answer,
    ):
        progress.first_byte = time.monotonic()
        if answer.status in _NOT_HERE or answer.status == 412:
            raise MissingBlockError(cid, peer.label)
        answer.check()
        stated = answer.header("Content-Length")
        progress.size = min(int(stated), MAX_BLOCK_BYTES) if stated.isdecimal() else MAX_BLOCK_BYTES
        attempt.hedge_at = progress.first_byte + peer.standing.hedge_body(progress.size)
        try:
            block = answer.read(MAX_BLOCK_BYTES, transport.patience.block)
        except InputError as error:
            # The peer is at fault and not the content: others may be asked.
            raise RequestError(url, error.message, final=True) from error
    if not cid.matches(block):
        raise block_mismatch(cid, block, f" from {peer.label}")
    return block


def _note_failure(peer: Peer, error: BaseException, attempt: Attempt, progress: _Progress) -> None:
    now, ended = time.time(), time.monotonic()
    with peer.lock:
        if isinstance(error, CheckFailedError):
            peer.standing.lied(now, error.message)
        elif isinstance(error, MissingBlockError):
            peer.standing.lacked(now, (progress.first_byte or ended) - progress.started)
        elif attempt.cancel.cancelled:
            # From when it began to be slow.
            since = progress.started if progress.first_byte is None else progress.first_byte
            size = progress.size if progress.first_byte is not None else None
            peer.standing.outrun(now, ended - since, size)
        elif isinstance(error, RequestError) and error.seconds is not None:
            peer.not_before = ended + min(error.seconds, _LONGEST_PAUSE)
        else:
            peer.standing.failed(now, str(getattr(error, "reason", error)))
