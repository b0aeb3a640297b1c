"""A DAG made over files on disk: nodes are kept in memory, leaves stay in the files they come from, or in the store.

So the CID of a large folder is known, and its blocks can be read again in any order, without a copy of it anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.blocks import MissingBlockError
from bacpack.content.cid import DAG_PB, RAW, Cid
from bacpack.content.dagpb import decode_node
from bacpack.content.store import BlockStore
from bacpack.content.unixfs_build import Built, build_directory, build_file
from bacpack.content.walk import links_of, read_dag, walk
from bacpack.errors import InputError
from bacpack.files import explain_os_error


@dataclass(frozen=True, slots=True)
class _Slice:
    path: Path
    offset: int
    length: int


class FileDag:
    """Blocks of files and directories as they are added; `get` reads any of them.

    `on_bytes` is told the size of each piece of a file that was read and hashed.
    """

    def __init__(self, on_bytes: Callable[[int], object] | None = None) -> None:
        self._on_bytes = on_bytes
        self._nodes: dict[Cid, bytes] = {}
        self._leaves: dict[Cid, _Slice] = {}
        #: What nodes link to, once that was asked for.
        self._links: dict[Cid, Sequence[Cid]] = {}

    def add_file(self, path: Path) -> Built:
        """Add the file at `path`; raises `InputError` when it cannot be read."""
        offset = 0

        def put(cid: Cid, block: bytes) -> None:
            nonlocal offset
            if cid.codec == RAW:
                self._leaves.setdefault(cid, _Slice(path, offset, len(block)))
                offset += len(block)
                if self._on_bytes:
                    self._on_bytes(len(block))
            else:
                self._nodes[cid] = block

        try:
            with path.open("rb", buffering=0) as file:
                return build_file(file, put)
        except OSError as error:
            raise explain_os_error(error, f"read `{path}`") from error

    def add_bytes(self, data: bytes) -> Built:
        """Add a file that is `data`, which is kept in memory."""
        return build_file(io.BytesIO(data), self._nodes.__setitem__)

    def add_stored(self, root: Cid, store: BlockStore) -> Built:
        """Add what `store` holds below `root`; raises `MissingBlockError`, `BadBlockError` and as `walk` does."""
        nodes: dict[Cid, bytes] = {}
        leaves: dict[Cid, _Slice] = {}
        for cid, block in read_dag(store.get, [root]):
            if cid.codec == RAW and not cid.is_identity:
                leaves[cid.to_v1()] = _Slice(store.path(cid), 0, len(block))
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
            leaf = self._leaves.get(cid.to_v1())
            yield cid, leaf.length if leaf else len(self._nodes[cid.to_v1()])

    def read(self, root: Cid) -> Iterator[tuple[Cid, bytes]]:
        """Yield CID and bytes of every block below `root`, in the order of a CAR file; raises as `get`."""
        for cid in walk([root], self._links_of):
            yield cid, self.get(cid)

    def _links_of(self, cid: Cid) -> Sequence[Cid]:
        key = cid.to_v1()
        if key in self._leaves:
            return ()
        if key not in self._links:
            self._links[key] = links_of(cid, self._nodes[key])
        return self._links[key]

    def get(self, cid: Cid) -> bytes:
        """Return a block, verified; raises `InputError` (`changed-meanwhile`) if its file was changed since."""
        node = self._nodes.get(cid.to_v1())
        if node is not None:
            return node
        leaf = self._leaves.get(cid.to_v1())
        if leaf is None:
            raise MissingBlockError(cid, "what was packed")
        try:
            with leaf.path.open("rb", buffering=0) as file:
                file.seek(leaf.offset)
                data = file.read(leaf.length)
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
