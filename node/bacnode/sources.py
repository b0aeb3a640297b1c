"""Where modules come from: the store, the folder of a program, a CAR file, the network, URLs.

A source of content gives blocks by CID, and files made of them; every byte is checked against the CID before it is
returned, so that no source needs to be trusted. A URL promises nothing, and the report says so.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from bacnode.resolver import Fetched, SourceKind
from bacpack.content.blocks import MAX_BLOCK_BYTES, CorruptBlockError, GetBlock, MissingBlockError, block_mismatch
from bacpack.content.cid import RAW, Cid
from bacpack.content.ref import CidRef, UrlRef
from bacpack.content.unixfs import read_bytes, resolve
from bacpack.content.unixfs_build import build_file
from bacpack.content.walk import links_of
from bacpack.errors import BacpackError, CheckFailedError, InputError, UnreachableError
from bacpack.files import explain_os_error
from bacpack.http_client import too_large

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

#: Returns what a URL gives, of at most so many bytes.
GetUrl: TypeAlias = Callable[[str, int], bytes]

#: Compares what a URL gave with what it gave when it was first used, and returns whether there was such a time; raises
#: `CheckFailedError` (`lock-mismatch`).
HoldUrl: TypeAlias = Callable[[str, Cid, int], bool]

#: How many requests are on their way at once.
PARALLEL = 8
#: How many modules are fetched before it is their turn, and the largest of them: they wait in memory.
_AHEAD, _AHEAD_BYTES = 32, 4 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A file's bytes, and which source had them; `origin` is its folder, file or URL."""

    data: bytes
    kind: SourceKind
    origin: str
    #: Others that had some of its blocks.
    also: tuple[str, ...] = ()


class Source(Protocol):
    """Something that may have content. Both methods raise `UnreachableError` when it has not."""

    @property
    def label(self) -> str:
        """How messages call it."""

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified."""

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified."""


class BlockSource:
    """A source that has blocks: the store, a CAR file, a peer."""

    def __init__(self, kind: SourceKind, origin: str, label: str, get: GetBlock) -> None:
        self.label = label
        self.get = get
        self._kind = kind
        self._origin = origin

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified block by block."""
        return Found(read_bytes(self.get, cid, max_bytes), self._kind, self._origin)


class FolderSource:
    """The modules that `bacpack split` writes beside a program: `modules/<cid>.wasm`."""

    def __init__(self, folder: Path) -> None:
        self._modules = folder / "modules"
        self.label = f"`{self._modules}`"

    def get(self, cid: Cid) -> bytes:
        """Return a block that is a whole file."""
        if cid.codec != RAW:
            raise MissingBlockError(cid, self.label)
        return self._read(cid, MAX_BLOCK_BYTES)

    def read(self, cid: Cid, max_bytes: int) -> Found:
        """Return a file of at most so many bytes, verified."""
        return Found(self._read(cid, max_bytes), "file", str(self._path(cid)))

    def _path(self, cid: Cid) -> Path:
        return self._modules / f"{cid.to_v1()}.wasm"

    def _read(self, cid: Cid, max_bytes: int) -> bytes:
        path = self._path(cid)
        try:
            size = path.stat().st_size
            if size > max_bytes:
                raise too_large(f"`{path}`", size, max_bytes)
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise MissingBlockError(cid, self.label) from None
        except OSError as error:
            raise explain_os_error(error, f"read `{path}`") from error
        if not (cid.matches(data) if cid.codec == RAW else file_cid(data) == cid.to_v1()):
            raise block_mismatch(cid, data, f" in `{path}`")
        return data


class Sources:
    """All sources that a program may draw on, asked in turn, nearest first.

    `far` says that some are on the network, so that it pays to ask for several modules at once.
    """

    def __init__(
        self, sources: Sequence[Source], get_url: GetUrl, hold_url: HoldUrl | None = None, *, far: bool = False
    ) -> None:
        self._sources = sources
        self._get_url = get_url
        self._hold_url = hold_url
        self._far = far
        self._ahead: dict[Cid, Future[Found]] = {}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(PARALLEL, "fetch")

    def announce(self, refs: Sequence[CidRef]) -> None:
        """Begin to fetch modules that `fetch` will be asked for next, if they may be far."""
        for ref in refs if self._far else ():
            cid = ref.cid.to_v1()
            if not ref.path and cid not in self._ahead and len(self._ahead) < _AHEAD:
                self._ahead[cid] = self._pool.submit(self._read, cid, _AHEAD_BYTES)

    def fetch(self, ref: CidRef | UrlRef, max_bytes: int) -> Fetched:
        """Return the module that `ref` names; raises `UnreachableError` when no source has it."""
        started = time.perf_counter()
        if isinstance(ref, UrlRef):
            found = Found(self._get_url(ref.url, max_bytes), "url", ref.url)
            cid, name = None, url_name(ref.url)
            held = self._hold_url is not None and self._hold_url(ref.url, file_cid(found.data), len(found.data))
        else:
            cid, held = resolve(self.get, ref.cid, ref.path), False
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
            held=held,
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
            f"{cid} is not to be had: it is not in {', '.join(asked) or 'anything that may be asked'}",
            hint="bring it into the store with `bacpack fetch FILE.car`, or name a node that has it with --peer URL",
            details={"cid": str(cid), "asked": asked},
        )


def _asked(label: str, failure: BacpackError) -> str:
    return label if isinstance(failure, MissingBlockError) else f"{label} ({failure.message})"


def url_name(url: str) -> str:
    """The name of the file that a URL ends in, or the URL itself."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2] or url


def file_cid(data: bytes) -> Cid:
    """The CID of `data` as a file in IPFS: of one raw block, or of a tree of them when it is larger."""
    return build_file(io.BytesIO(data), lambda _cid, _block: None).cid


@contextmanager
def read_ahead(get: GetBlock, root: Cid) -> Iterator[GetBlock]:
    """Yield a function like `get` that has the next few blocks below `root` on their way when one is asked for.

    Blocks are expected in the order of the links of `root`, as a file is read; any other is asked for when it is.
    """
    from concurrent.futures import ThreadPoolExecutor

    block = get(root)
    waiting = deque(links_of(root, block))
    coming: dict[Cid, Future[bytes]] = {}
    pool = ThreadPoolExecutor(PARALLEL, "read")

    def next_block(cid: Cid) -> bytes:
        if cid == root:
            return block
        while waiting and len(coming) <= PARALLEL:
            following = waiting.popleft()
            if following not in coming:
                coming[following] = pool.submit(get, following)
        future = coming.pop(cid, None)
        return get(cid) if future is None else future.result()

    try:
        yield next_block
    finally:
        # What is still on its way is waited for by nobody.
        pool.shutdown(wait=False, cancel_futures=True)
