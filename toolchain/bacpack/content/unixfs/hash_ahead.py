"""Reading and hashing in other threads: the interpreter's lock is free meanwhile, so it costs no time of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

from bacpack.content.cid.cid import Cid

K = TypeVar("K")

#: What is read ahead: so many groups of blocks, of at least so many bytes each but for the last.
_GROUPS = 4
_GROUP_BYTES = 1 << 20
#: Chunks that are hashed at a time.
_HASHED = 2


def read_ahead(blocks: Iterable[tuple[K, bytes]]) -> Iterator[tuple[K, bytes]]:
    """Yield the blocks as they come, each read while the ones before are used; raises what reading raises."""
    groups: Queue[list[tuple[K, bytes]] | BaseException | None] = Queue(_GROUPS)
    stop = Event()

    def put(item: list[tuple[K, bytes]] | BaseException | None) -> None:
        while not stop.is_set():
            with suppress(Full):
                groups.put(item, timeout=0.1)
                return

    def read() -> None:
        try:
            group: list[tuple[K, bytes]] = []
            size = 0
            for key, block in blocks:
                group.append((key, block))
                size += len(block)
                if size >= _GROUP_BYTES:
                    put(group)
                    group, size = [], 0
                if stop.is_set():
                    return
            put(group)
            put(None)
        except BaseException as error:
            put(error)

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := groups.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from item
    finally:
        stop.set()
        thread.join()


def hashed(chunks: Iterator[bytes]) -> Iterator[tuple[Cid, bytes]]:
    """Yield each chunk with its CID as a raw block, several hashed at a time if there are several."""
    first, second = next(chunks, None), next(chunks, None)
    if first is None:
        return
    if second is None:
        yield Cid.of_raw(first), first
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(_HASHED) as pool:
        waiting: deque[tuple[Future[Cid], bytes]] = deque()
        for chunk in chain((first, second), chunks):
            waiting.append((pool.submit(Cid.of_raw, chunk), chunk))
            if len(waiting) > 2 * _HASHED:
                done, data = waiting.popleft()
                yield done.result(), data
        for done, data in waiting:
            yield done.result(), data
