"""Which modules a store holds whole, told by their bytes: what a worker announces."""

from __future__ import annotations

from collections.abc import Iterator

from bacpack.content.cid.cid import DAG_PB, RAW, Cid
from bacpack.content.ipld.dag_pb import decode_node
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.nodes import Kind, decode_data
from bacpack.errors import BacpackError

_MAGIC = b"\0asm"


def modules_in(store: BlockStore) -> Iterator[tuple[Cid, int]]:
    """Yield every module that `store` holds whole, with its size: files that begin as a module does."""
    for cid in store:
        size = size_of(cid, store)
        if size is not None:
            yield cid, size


def size_of(cid: Cid, store: BlockStore) -> int | None:
    """Return the size of a module that is held whole; None for what is none, or not whole."""
    try:
        if cid.codec == RAW:
            return store.size(cid) if _begins(store, cid) else None
        if cid.codec != DAG_PB:
            return None
        node = decode_node(store.get(cid), cid)
        file = decode_data(node.data, cid)
        if file.kind is not Kind.FILE or not node.links:
            return None
        if not all(store.has(link.cid) for link in node.links):
            return None
        first = node.links[0].cid
        return file.file_size if first.codec == RAW and _begins(store, first) else None
    except BacpackError:
        return None


def _begins(store: BlockStore, cid: Cid) -> bool:
    try:
        with store.path(cid).open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
