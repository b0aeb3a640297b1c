"""Modules that jobs here may use and nobody may have.

Their blocks are kept in a store of their own, `proprietary/`, apart from the one that is served, packed, published and
pinned. So no endpoint needs to know which blocks it must not show: it cannot reach them. The node's own store refuses
to take them in as well, since what it takes in it would serve.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, PathRef, parse_ref
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import Batch, BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.content.unixfs.reader import read_bytes
from bacpack.content.unixfs.writer import build_file
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import read_file, write_file

FOLDER = "proprietary"
_LIST = "modules"
#: The largest module that is taken.
_MAX_BYTES = 256 << 20


class Proprietary:
    """The modules that the node in `folder` may not give away."""

    def __init__(self, folder: Path) -> None:
        (folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.store = BlockStore(folder / FOLDER)
        self._names: dict[str, str] = {}
        self._list = folder / FOLDER / _LIST
        if self._list.is_file():
            for line in read_file(self._list).decode(errors="replace").splitlines():
                cid, _, name = line.partition(" ")
                self._names[cid] = name
        #: Every block of them, as text of CIDs, version 1.
        self.blocks = frozenset(str(cid) for cid in self.store)

    @property
    def modules(self) -> dict[str, str]:
        """The name of each, by CID."""
        return dict(self._names)

    def take(self, given: str, store: BlockStore) -> Cid:
        """Move a module out of `store`, or take in a file; return its CID.

        Raises `InputError`, and `UnreachableError` (`incomplete`) for a CID that the store does not hold whole.
        """
        ref = parse_ref(given)
        if isinstance(ref, PathRef):
            data = read_file(ref.path)
            with self.store.batch() as batch:
                cid = build_file(io.BytesIO(data), lambda cid, block: batch.put(cid, block, verified=True)).cid
            self._add(cid, ref.path.name)
        elif isinstance(ref, CidRef) and not ref.path:
            cid = ref.cid.to_v1()
            if str(cid) not in self._names:
                self._move(cid, store)
                self._add(cid, "")
        else:
            raise InputError(
                "bad-ref", f"`{given}` names no module that could be kept", hint="--proprietary takes a CID or a file"
            )
        # A copy of a file may have been here before.
        self._remove(list(self.store), store)
        self.blocks = frozenset(str(block) for block in self.store)
        return cid

    def _move(self, cid: Cid, store: BlockStore) -> None:
        found = check_blocks(store, cid)
        if found.missing:
            raise InputError(
                "not-held",
                f"{cid} is not here whole, so it cannot be kept to this node",
                hint="name a file, or bring it here with `bacpack fetch` first",
                details={"cid": str(cid)},
            )
        read_bytes(store.get, cid, _MAX_BYTES)
        with self.store.batch() as batch:
            for block_cid, block in read_dag(store.get, [cid]):
                batch.put(block_cid, block)

    def _add(self, cid: Cid, name: str) -> None:
        self._names[str(cid)] = name
        write_file(self._list, "".join(f"{cid} {name}\n" for cid, name in self._names.items()).encode())

    @staticmethod
    def _remove(cids: Sequence[Cid], store: BlockStore) -> None:
        if any(store.has(cid) for cid in cids):
            with store.collecting() as delete:
                for cid in cids:
                    delete(cid)


class PublicStore(BlockStore):
    """The store that a node serves from, which takes in no proprietary block."""

    def __init__(self, folder: Path, proprietary: Proprietary) -> None:
        super().__init__(folder)
        self._proprietary = proprietary

    def path_of(self, name: str) -> str:
        """Where a block is; for a proprietary one where none is, should another command have put a copy here."""
        return f"{self._blocks}/none/{name}" if name in self._proprietary.blocks else super().path_of(name)

    @contextmanager
    def batch(self, on_wait: object = None) -> Iterator[Batch]:
        """Yield a batch that refuses them."""
        with super().batch() as batch:
            yield _PublicBatch(self, batch, self._proprietary)


class _PublicBatch(Batch):
    def __init__(self, store: BlockStore, batch: Batch, proprietary: Proprietary) -> None:
        super().__init__(store)
        self._batch = batch
        self._proprietary = proprietary

    def put(self, cid: Cid, data: bytes, *, verified: bool = False) -> bool:
        """Store a block; raises `CheckFailedError` (`proprietary-module`) for one that this node may not give away."""
        if str(cid.to_v1()) in self._proprietary.blocks:
            raise CheckFailedError(
                "proprietary-module",
                f"{cid} belongs to a module that this node may not give away, so it is not taken in",
                hint="submit jobs that need it to this node",
                details={"cid": str(cid)},
            )
        return self._batch.put(cid, data, verified=verified)

    def flush(self) -> None:
        """Make every block put so far durable."""
        self._batch.flush()

    def leave(self) -> None:
        """Let the blocks put so far stay if they may."""
        self._batch.leave()
