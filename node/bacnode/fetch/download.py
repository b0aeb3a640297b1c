"""Bringing a DAG from the network into the store: as one CAR stream where that serves, block by block otherwise.

Each block is stored as soon as it was checked, so whatever ends a download early, the next one asks only for what is
still missing. What is missing is found by walking from the root: no stream is believed to be complete.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from bacnode.fetch.download_plan import wholly_missing
from bacnode.fetch.remote_source import CarUrl, RemoteSource
from bacnode.fetch.source import PARALLEL
from bacpack.content.car import CarError
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import RAW, Cid
from bacpack.content.cid.multihash import UnknownHashError
from bacpack.content.ipld.links import links_of, walk
from bacpack.content.store.block_store import Batch, BlockStore
from bacpack.content.store.collection import incomplete
from bacpack.content.unixfs.reader import resolve
from bacpack.errors import BacpackError, CheckFailedError, InputError, UnreachableError
from bacpack.ipfs_clients import NoCarError

#: Requests that are planned at a time: what is planned takes memory.
_WINDOW = 1024


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Bounds on what others may make us take. Sizes are in bytes."""

    #: New blocks of one download.
    total_bytes: int = 64 << 30
    #: Blocks of one CAR stream that were not asked for, or came before: a stream with more is cut off.
    unexpected_bytes: int = 32 << 20


@dataclass(slots=True)
class Downloaded:
    """What is below the roots now, and what of it is new. Sizes are in bytes."""

    blocks: int = 0
    bytes: int = 0
    new_bytes: int = 0
    #: Whom each new block came from.
    origins: dict[Cid, RemoteSource] = field(default_factory=dict)


class Download:
    """One download into `store`, through a batch of it, from `remotes` in their order. Leave it with `close`.

    `on_bytes` is told the size of each new block, from any thread.
    """

    def __init__(
        self,
        store: BlockStore,
        batch: Batch,
        remotes: Sequence[RemoteSource],
        limits: DownloadLimits | None = None,
        on_bytes: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.done = Downloaded()
        self._store = store
        self._batch = batch
        self._remotes = remotes
        self._limits = limits or DownloadLimits()
        self._on_bytes = on_bytes
        # An empty store has nothing of any DAG: the first request can be for all of it.
        self._was_empty = next(iter(store), None) is None
        self._pool = ThreadPoolExecutor(PARALLEL, "download")
        self._lock = threading.Lock()
        #: Blocks that are being written; none once it is closed.
        self._writing = 0
        self._written = threading.Condition()
        self._closed = False
        #: What is known to be in the store, sound: where each block leads to, and its size.
        self._links: dict[Cid, Sequence[Cid]] = {}
        self._sizes: dict[Cid, int] = {}
        #: What sources said when they were asked for a block; all of them, for what is given up.
        self._failures: dict[Cid, list[tuple[RemoteSource, BacpackError]]] = {}
        self._given_up: set[Cid] = set()
        #: What came of each stream that was asked for.
        self._streams: dict[tuple[RemoteSource, Cid], BacpackError | None] = {}

    def close(self) -> None:
        """Give up what is planned or awaited; what is being written is written to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._written:
            self._closed = True
            self._written.wait_for(lambda: not self._writing)

    def resolve(self, cid: Cid, path: Sequence[str]) -> Cid:
        """Follow the names in `path` from `cid`; raises as `fetch` and `unixfs.resolve` do."""
        try:
            return resolve(self._block, cid, path)
        except MissingBlockError as error:
            raise self._incomplete(str(cid), [error]) from error

    def fetch(self, roots: Sequence[Cid]) -> None:
        """Bring all that is below `roots` into the store.

        Raises `UnreachableError` (`incomplete`) that names what is missing, who was asked, and what they answered;
        and as `walk` and `Batch.put` do.
        """
        missing = self._missing(roots)
        if self._was_empty:
            for cid in missing:
                if cid.codec != RAW:
                    self._ask_cars(cid)
        # The structure first: it is small, and says which of the leaves are here already.
        while nodes := [cid for cid in self._missing(roots) if cid.codec != RAW and cid not in self._given_up]:
            self._get_all(nodes)
        for top in wholly_missing(roots, self._links):
            self._ask_cars(top)
        self._get_all(cid for cid in self._missing(roots) if cid not in self._given_up)
        self._count(roots)

    def take(self, car: CarUrl) -> Sequence[Cid]:
        """Store the blocks of a CAR file, unless all that its roots need is here; return the roots.

        Where it ends too early, what came is kept, and `fetch` finds what is missing. Raises `RequestError`, `CarError`
        and `CheckFailedError` when not even the roots came, and `InputError` (`car-no-roots`) when there is none.
        """
        roots: Sequence[Cid] = ()
        try:
            with car.open() as stream:
                roots = tuple(dict.fromkeys(stream.roots))
                if not roots:
                    raise _without_roots(car.label, car.origin)
                if self._missing(roots):
                    with self._storing() as store:
                        for cid, block in stream:
                            store(cid, block, car)
        except (UnreachableError, CheckFailedError, CarError) as error:
            if not roots:
                raise
            self._streams[car, roots[0]] = error
        # Others may have what it lacks, and an error says that it was asked.
        self._remotes = [*self._remotes, car]
        return roots

    def _count(self, roots: Sequence[Cid]) -> None:
        """Note what is below `roots`; raise if anything is missing."""
        missing: list[MissingBlockError] = []
        for cid in walk(roots, self._stored_links, missing.append):
            self.done.blocks += 1
            self.done.bytes += self._sizes[cid.to_v1()]
        if missing:
            raise self._incomplete(", ".join(map(str, roots)), missing)

    def _missing(self, roots: Sequence[Cid]) -> list[Cid]:
        """Return what is missing below `roots`, as far as what is here leads."""
        missing: list[MissingBlockError] = []
        for _ in walk(roots, self._stored_links, missing.append):
            pass
        return [error.cid for error in missing]

    def _stored_links(self, cid: Cid) -> Sequence[Cid]:
        key = cid.to_v1()
        if key not in self._links:
            # Reading verifies: a damaged block is a missing one.
            self._note(key, self._store.get(cid))
        return self._links[key]

    def _note(self, key: Cid, block: bytes) -> None:
        links = links_of(key, block)
        self._sizes[key] = len(block)
        self._links[key] = links

    def _keep(self, cid: Cid, block: bytes, remote: RemoteSource) -> None:
        """Store a verified block; raises `InputError` when it cannot be written, or is one too many."""
        key = cid.to_v1()
        with self._written:
            if self._closed:
                return
            self._writing += 1
        try:
            is_new = self._batch.put(cid, block, verified=True)
        finally:
            with self._written:
                self._writing -= 1
                self._written.notify_all()
        self._note(key, block)
        if not is_new:
            return
        with self._lock:
            self.done.new_bytes += len(block)
            self.done.origins[key] = remote
        if self.done.new_bytes > self._limits.total_bytes:
            raise _too_much(self._limits.total_bytes)
        self._on_bytes(len(block))

    def _block(self, cid: Cid) -> bytes:
        if self._is_missing(cid):
            self._get(cid)
        return self._store.get(cid)

    def _is_missing(self, cid: Cid) -> bool:
        try:
            self._stored_links(cid)
        except MissingBlockError:
            return True
        return False

    def _get_all(self, cids: Iterable[Cid]) -> None:
        """Ask for blocks one by one, several at a time; what nobody has is noted among the failures."""
        wanted = list(cids)
        for start in range(0, len(wanted), _WINDOW):
            futures = [self._pool.submit(self._get, cid) for cid in wanted[start : start + _WINDOW]]
            for future in futures:
                future.result()

    def _get(self, cid: Cid) -> None:
        for remote in self._remotes:
            # A file has no more than what was taken from it.
            if not isinstance(remote, CarUrl) and self._get_from(remote, cid):
                return
        self._given_up.add(cid)

    def _get_from(self, remote: RemoteSource, cid: Cid) -> bool:
        """Ask one source for a block, store it, and return whether it had it."""
        if any(asked is remote and isinstance(said, MissingBlockError) for asked, said in self._failures.get(cid, ())):
            return False
        try:
            block = remote.get(cid)
        except (UnreachableError, CheckFailedError) as error:
            self._fail(cid, remote, error)
            return False
        self._keep(cid, block, remote)
        return True

    def _fail(self, cid: Cid, remote: RemoteSource, error: BacpackError) -> None:
        with self._lock:
            self._failures.setdefault(cid, []).append((remote, error))

    def _ask_cars(self, root: Cid) -> None:
        """Ask for all below `root` as one stream, until a source gives some of it; what it lacks is got otherwise."""
        for remote in self._remotes:
            if remote.suspended is not None or not remote.speaks_car or (remote, root) in self._streams:
                continue
            before = self.done.new_bytes
            self._streams[remote, root] = None
            try:
                with remote.car(root) as blocks:
                    self._take_expected(root, blocks, remote)
            except (NoCarError, MissingBlockError):
                # Single blocks may be had where streams are not, and this source comes before the next.
                if not self._is_missing(root) or self._get_from(remote, root):
                    return
            except (UnreachableError, CheckFailedError, CarError, UnknownHashError) as error:
                self._streams[remote, root] = error
            if self.done.new_bytes > before:
                return

    def _take_expected(self, root: Cid, blocks: Iterable[tuple[Cid, bytes]], remote: RemoteSource) -> None:
        """Store those `blocks` of a stream that `root` leads to and that are not here."""
        expected = {cid.to_v1() for cid in self._missing([root])}
        early: dict[Cid, bytes] = {}
        unexpected = 0
        with self._storing() as store:
            for came, block in blocks:
                if came.to_v1() not in expected:
                    unexpected += len(block)
                    if unexpected > self._limits.unexpected_bytes + self.done.new_bytes // 8:
                        remote.speaks_car = False
                        raise _unexpected(remote, unexpected)
                    # Children may come before their parents.
                    early[came.to_v1()] = block
                    continue
                found = [(came.to_v1(), block)]
                while found:
                    cid, data = found.pop()
                    expected.discard(cid)
                    store(cid, data, remote)
                    for link in (link.to_v1() for link in links_of(cid, data)):
                        if link in early:
                            found.append((link, early.pop(link)))
                        elif link not in self._links:
                            expected.add(link)

    @contextmanager
    def _storing(self) -> Iterator[Callable[[Cid, bytes, RemoteSource], None]]:
        """Yield a function that stores blocks beside reading: the disk and the network need not wait for each other.

        When the block ends, however it does, all that it was given is stored.
        """
        under_way: deque[Future[None]] = deque()

        def store(cid: Cid, block: bytes, remote: RemoteSource) -> None:
            under_way.append(self._pool.submit(self._keep, cid, block, remote))
            if len(under_way) > PARALLEL:
                under_way.popleft().result()

        try:
            yield store
        finally:
            while under_way:
                under_way.popleft().result()

    def _incomplete(self, what: str, missing: list[MissingBlockError]) -> UnreachableError:
        """Return the error that names what is missing, whom it was asked of, and what they said."""
        known = incomplete(what, missing, UnreachableError)
        said = [failure for error in missing for failure in self._failures.get(error.cid, ())]
        streams = [(remote, error) for (remote, _), error in self._streams.items() if error]
        answers = {remote: _answer(remote, _said(said, remote) or _said(streams, remote)) for remote in self._remotes}
        asked = "".join(f"; {remote.label}: {answer}" for remote, answer in answers.items())
        return UnreachableError(
            known.code,
            f"{known.message}{asked}",
            hint="try again later: what came is kept; or name another source with --peer, --gateway or --kubo URL"
            if answers
            else "name a source with --peer, --gateway or --kubo URL, or fetch a CAR file that holds the blocks",
            details={
                **known.details,
                "asked": [
                    {"source": remote.kind, "url": remote.origin, "answer": answer}
                    for remote, answer in answers.items()
                ],
            },
        )


def _said(said: Sequence[tuple[RemoteSource, BacpackError]], remote: RemoteSource) -> list[BacpackError]:
    return [error for asked, error in said if asked is remote]


def _answer(remote: RemoteSource, said: Sequence[BacpackError]) -> str:
    """What a source said to requests that failed, as a clause."""
    if remote.suspended is not None:
        return f"not asked any more, since {remote.suspended}"
    reasons = [
        str(getattr(error, "reason", error.message)) for error in said if not isinstance(error, MissingBlockError)
    ]
    if reasons:
        return reasons[0]
    return "it does not have them" if said or isinstance(remote, CarUrl) else "not asked"


def _without_roots(what: str, where: str) -> InputError:
    return InputError(
        "car-no-roots",
        f"{what} names no root, so what it holds has no beginning",
        hint="pack the content again with a root",
        details={"url": where},
    )


def _too_much(limit: int) -> InputError:
    return InputError(
        "too-large",
        f"more than {limit} bytes came, and that is all that one download may bring",
        hint="raise the limit with --max-bytes if you trust the content",
        details={"max_bytes": limit},
    )


def _unexpected(remote: RemoteSource, count: int) -> UnreachableError:
    return UnreachableError(
        "url-failed",
        f"{remote.label} sends blocks that nobody asked for: {count} bytes of them",
        hint="use another source",
        details={"url": remote.origin, "bytes": count},
    )
