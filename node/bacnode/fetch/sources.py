"""Where modules come from: the store, the folder of a program, a CAR file, the network, URLs.

A source of content gives blocks by CID, and files made of them; every byte is checked against the CID before it is
returned, so that no source needs to be trusted. A URL promises nothing, and the report says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from bacnode.fetch.fetched import Fetched, Found
from bacnode.fetch.source import PARALLEL, GetUrl, HoldUrl, Source, file_cid
from bacpack.content.cid.block import CorruptBlockError, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, UrlRef
from bacpack.content.unixfs.reader import resolve
from bacpack.errors import BacpackError, CheckFailedError, InputError, UnreachableError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

#: How many modules are fetched before it is their turn, and the largest of them: they wait in memory.
_AHEAD, _AHEAD_BYTES = 32, 4 << 20

T = TypeVar("T")


class Sources:
    """All sources that a program may draw on, asked in turn, nearest first.

    `remote` says that some are on the network, so that it pays to ask for several modules at once.
    """

    def __init__(
        self, sources: Sequence[Source], get_url: GetUrl, hold_url: HoldUrl | None = None, *, remote: bool = False
    ) -> None:
        self._sources = sources
        self._get_url = get_url
        self._hold_url = hold_url
        self._remote = remote
        self._ahead: dict[Cid, Future[Found]] = {}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(PARALLEL, "fetch")

    def announce(self, refs: Sequence[CidRef]) -> None:
        """Begin to fetch modules that `fetch` will be asked for next, if they may be far."""
        for ref in refs if self._remote else ():
            cid = ref.cid.to_v1()
            if not ref.path and cid not in self._ahead and len(self._ahead) < _AHEAD:
                self._ahead[cid] = self._pool.submit(self._read, cid, _AHEAD_BYTES)

    def fetch(self, ref: CidRef | UrlRef, max_bytes: int) -> Fetched:
        """Return the module that `ref` names; raises `UnreachableError` when no source has it."""
        started = time.perf_counter()
        if isinstance(ref, UrlRef):
            found = Found(self._get_url(ref.url, max_bytes), "url", ref.url)
            cid, name = None, url_name(ref.url)
            is_locked = self._hold_url is not None and self._hold_url(ref.url, file_cid(found.data), len(found.data))
        else:
            cid, is_locked = resolve(self.get, ref.cid, ref.path), False
            found = self._announced(cid, max_bytes) or self._read(cid, max_bytes)
            name = ref.path[-1] if ref.path else str(ref.cid)
        return Fetched(
            data=found.data,
            name=name,
            cid=cid,
            url=ref.url if isinstance(ref, UrlRef) else None,
            source=found.kind,
            fetched_from=found.origin,
            also_from=found.also,
            fetch_ms=(time.perf_counter() - started) * 1000,
            is_locked=is_locked,
        )

    def _announced(self, cid: Cid, max_bytes: int) -> Found | None:
        """Return the module that `announce` began to fetch; None if it was too large for that, or for `max_bytes`."""
        future = self._ahead.pop(cid.to_v1(), None)
        if future is None:
            return None
        try:
            found = future.result()
        except InputError as error:
            if error.code != "too-large":
                raise
            return None
        return found if len(found.data) <= max_bytes else None

    def _read(self, cid: Cid, max_bytes: int) -> Found:
        return self._first(cid, lambda source: source.read(cid, max_bytes))

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified; raises `UnreachableError` when no source has it."""
        return self._first(cid, lambda source: source.get(cid))

    def _first(self, cid: Cid, ask: Callable[[Source], T]) -> T:
        failures: list[tuple[str, BacpackError]] = []
        for source in self._sources:
            try:
                return ask(source)
            except (UnreachableError, CheckFailedError) as error:
                failures.append((source.label, error))
        # A damaged copy is no reason to stop while another source may have a sound one; but if none has, say so.
        for _, failure in failures:
            if isinstance(failure, CheckFailedError | CorruptBlockError):
                raise failure
        asked = [_asked(label, failure) for label, failure in failures]
        raise UnreachableError(
            "module-not-found",
            f"{cid} is not available: it is not in {', '.join(asked) or 'anything that may be asked'}",
            hint="bring it into the store with `bacpack fetch FILE.car`, or name a node that has it with --peer URL",
            details={"cid": str(cid), "asked": asked},
        )


def _asked(label: str, failure: BacpackError) -> str:
    return label if isinstance(failure, MissingBlockError) else f"{label} ({failure.message})"


def url_name(url: str) -> str:
    """The name of the file that a URL ends in, or the URL itself."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2] or url
