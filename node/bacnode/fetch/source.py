"""What modules come from, and what of that is on this machine: the store, a CAR file, the folder of a program."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from bacnode.fetch.fetched import Found, SourceKind
from bacpack.content.cid.block import MAX_BLOCK_BYTES, GetBlock, MissingBlockError, block_mismatch
from bacpack.content.cid.cid import RAW, Cid
from bacpack.content.ipld.links import links_of
from bacpack.content.unixfs.reader import read_bytes
from bacpack.content.unixfs.writer import build_file
from bacpack.files import explain_os_error
from bacpack.http_client import too_large

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Returns what a URL gives, of at most so many bytes.
GetUrl: TypeAlias = Callable[[str, int], bytes]

#: Compares what a URL gave with what it gave when it was first used, and returns whether there was such a time; raises
#: `CheckFailedError` (`lock-mismatch`).
HoldUrl: TypeAlias = Callable[[str, Cid, int], bool]

#: How many requests are on their way at once.
PARALLEL = 8


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


def file_cid(data: bytes) -> Cid:
    """The CID of `data` as a file in IPFS: of one raw block, or of a tree of them when it is larger."""
    return build_file(io.BytesIO(data), lambda _cid, _block: None).cid


def read_ahead(get: GetBlock, root: Cid, max_bytes: int) -> bytes:
    """Return a file of at most so many bytes; the next few of its blocks are on their way when one is read."""
    if root.codec == RAW:
        return read_bytes(get, root, max_bytes)
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
        return read_bytes(next_block, root, max_bytes)
    finally:
        # What is still on its way is waited for by nobody.
        pool.shutdown(wait=False, cancel_futures=True)
