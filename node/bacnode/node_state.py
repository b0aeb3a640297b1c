"""What the endpoints of one node share: its store, its identity, its threads and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request

from bacnode.http_server.auth import Access, load_token
from bacnode.http_server.concurrency_limit import ConcurrencyLimit
from bacnode.jobs.service import JobOptions, JobService, open_jobs
from bacnode.peers.directory import Peers
from bacnode.peers.identity import Identity, load_identity
from bacnode.peers.peer_book import PeerBook, PeerOptions
from bacnode.stores.proprietary import Proprietary, PublicStore
from bacnode.stores.upload_lock import UploadLock
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.content.store.pins import Pins

#: Threads that read blocks. A CAR holds one only while its next part is read, not while that is sent.
READERS = 4
#: Threads that write, each for one upload or pin.
WRITERS = 4
#: CARs that are sent at once: each keeps a part in memory, and the CIDs that it sent.
MAX_STREAMS = 64

T = TypeVar("T")


@dataclass(slots=True)
class NodeState:
    """One node. `url` is where it is reached, once it listens."""

    store: BlockStore
    pins: Pins
    provenance: Provenance
    access: Access
    identity: Identity
    upload_lock: UploadLock
    uploads: ConcurrencyLimit
    #: CARs that are being sent.
    streams: ConcurrencyLimit
    readers: ThreadPoolExecutor
    writers: ThreadPoolExecutor
    peers: Peers
    book: PeerBook
    jobs: JobService
    url: str = ""
    #: URLs of advisories about the engine that is installed.
    known_holes: list[str] = field(default_factory=list)

    async def in_reader(self, work: Callable[[], T]) -> T:
        """Run what reads the disk in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, work)

    async def in_writer(self, work: Callable[[], T]) -> T:
        """Run what writes to the disk, or waits for a client, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.writers, work)

    def close(self) -> None:
        """Let go of the store, close the database of jobs and end the threads."""
        self.jobs.queue.database.close()
        self.upload_lock.release()
        self.readers.shutdown(wait=False, cancel_futures=True)
        self.writers.shutdown(wait=False, cancel_futures=True)


def open_node(folder: Path, peers: PeerOptions | None = None, options: JobOptions | None = None) -> NodeState:
    """Return the node whose store and state are in `folder`; both are made on first use. Raises `InputError`."""
    options = options or JobOptions()
    proprietary = Proprietary(folder)
    for given in options.proprietary:
        proprietary.take(given, BlockStore(folder))
    store = PublicStore(folder, proprietary)
    _remove_leftovers(store)
    identity = load_identity(folder)
    writers = ThreadPoolExecutor(WRITERS, "writer")
    peers = peers or PeerOptions()
    book = PeerBook(folder)
    book.begin(peers)
    return NodeState(
        store=store,
        pins=Pins(folder),
        provenance=Provenance(folder),
        access=Access(load_token(folder)),
        identity=identity,
        upload_lock=UploadLock(store, writers),
        uploads=ConcurrencyLimit(WRITERS, "uploads"),
        streams=ConcurrencyLimit(MAX_STREAMS, "CARs"),
        readers=ThreadPoolExecutor(READERS, "reader"),
        writers=writers,
        peers=Peers(book, identity.peer_id, peers),
        book=book,
        jobs=open_jobs(folder, proprietary, options, identity.peer_id),
    )


def _remove_leftovers(store: BlockStore) -> None:
    """Remove what writers left half-written when they were killed, unless another process writes just now."""

    def give_up() -> None:
        raise _BusyError

    with suppress(_BusyError), store.collecting(give_up):
        pass


class _BusyError(Exception):
    """Another process writes."""


def state_of(request: Request) -> NodeState:
    """Return the node that a request was sent to."""
    node: NodeState = request.app.state.node
    return node
