"""A DAG made over files on disk: nodes are kept in memory, leaves stay in the files they come from, or in the store.

So the CID of a large folder is known, and its blocks can be read again in any order, without a copy of it anywhere.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import DAG_PB, RAW, Cid
from bacpack.content.ipld.dag_pb import decode_node
from bacpack.content.ipld.links import links_of, read_dag, walk
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.writer import Built, build_directory, build_file
from bacpack.errors import InputError
from bacpack.files import explain_os_error


@dataclass(frozen=True, slots=True)
class _Leaf:
    #: As in the mapping, so that a large release has each CID in memory once.
    cid: Cid
    path: str
    offset: int
    length: int


class FileDag:
    """Blocks of files and directories as they are added; `get` reads any of them.

    `on_bytes` is told the size of each piece of a file that was read and hashed.
    """

    def __init__(self, on_bytes: Callable[[int], object] | None = None) -> None:
        self._on_bytes = on_bytes
        self._nodes: dict[Cid, bytes] = {}
        self._leaves: dict[Cid, _Leaf] = {}

    def add_file(self, path: str | Path) -> Built:
        """Add the file at `path`; raises `InputError` when it cannot be read."""
        path, offset = os.fspath(path), 0

        def put(cid: Cid, block: bytes) -> None:
            nonlocal offset
            if cid.codec == RAW:
                if cid not in self._leaves:
                    self._leaves[cid] = _Leaf(cid, path, offset, len(block))
                offset += len(block)
                if self._on_bytes:
                    self._on_bytes(len(block))
            else:
                self._nodes[cid] = block

        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - there may be many, and a `Path` is slow
                return build_file(file, put)
        except OSError as error:
            raise explain_os_error(error, f"read `{path}`") from error

    def add_bytes(self, data: bytes) -> Built:
        """Add a file that is `data`, which is kept in memory."""
        return build_file(io.BytesIO(data), self._nodes.__setitem__)

    def add_stored(self, root: Cid, store: BlockStore) -> Built:
        """Add what `store` holds below `root`; raises `MissingBlockError`, `BadBlockError` and as `walk` does."""
        nodes: dict[Cid, bytes] = {}
        leaves: dict[Cid, _Leaf] = {}
        for cid, block in read_dag(store.get, [root]):
            if cid.codec == RAW and not cid.is_identity:
                leaves[cid] = _Leaf(cid, str(store.path(cid)), 0, len(block))
            else:
                nodes[cid.to_v1()] = block
        # Only once all of it is there: whatever this DAG has, it has whole.
        self._nodes |= nodes
        self._leaves = leaves | self._leaves
        size = sum(leaf.length for leaf in leaves.values())
        block = store.get(root)
        below = sum(link.tsize for link in decode_node(block, root).links) if root.codec == DAG_PB else 0
        return Built(root.to_v1(), size, len(block) + below)

    def add_directory(self, entries: Mapping[str, Built]) -> Built:
        """Add a directory of what was added before; raises `InputError` (`bad-name`)."""
        return build_directory(entries, self._nodes.__setitem__)

    def blocks(self, root: Cid) -> Iterator[tuple[Cid, int]]:
        """Yield CID and size in bytes of every block below `root`, in the order of a CAR file; no file is read."""

        for cid in walk([root], self._links_of):
            leaf = self._leaves.get(cid)  # raw, so of version 1
            yield (leaf.cid, leaf.length) if leaf else (cid, len(self._nodes[cid.to_v1()]))

    def _links_of(self, cid: Cid) -> Sequence[Cid]:
        key = cid.to_v1()
        return () if key in self._leaves else links_of(cid, self._nodes[key])

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified; raises `InputError` (`changed-meanwhile`) if its file was changed since."""
        node = self._nodes.get(cid.to_v1())
        if node is not None:
            return node
        leaf = self._leaves.get(cid.to_v1())
        if leaf is None:
            raise MissingBlockError(cid, "what was packed")
        try:
            descriptor = os.open(leaf.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(descriptor, leaf.length, leaf.offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise explain_os_error(error, f"read `{leaf.path}`") from error
        if not cid.matches(data):
            raise InputError(
                "changed-meanwhile",
                f"`{leaf.path}` was changed while it was being read",
                hint="run the command again when nothing writes to it",
                details={"path": str(leaf.path)},
            )
        return data
