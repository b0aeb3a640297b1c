"""What the store keeps: checking that content is there whole, pinning it, and collecting what no pin reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import RAW, Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.content.store.pins import Pins
from bacpack.errors import BacpackError, CheckFailedError, UnreachableError
from bacpack.text import count_of

#: How many CIDs a message names; all are in its details.
_NAMED = 5


@dataclass(slots=True)
class Completeness:
    """What was found below some roots. Sizes are in bytes."""

    blocks: int = 0
    bytes: int = 0
    #: Blocks that are not there, or are there but damaged.
    missing: list[MissingBlockError] = field(default_factory=list)

    def error(self, what: str, kind: type[BacpackError]) -> BacpackError:
        """Return the error that names what is missing below `what`."""
        return incomplete(what, self.missing, kind)


@dataclass(slots=True)
class Collection:
    """What garbage collection did. Sizes are in bytes."""

    deleted_blocks: int = 0
    deleted_bytes: int = 0
    kept_blocks: int = 0
    kept_bytes: int = 0
    #: Blocks that pins need and the store does not hold.
    missing: list[Cid] = field(default_factory=list)


def check_blocks(store: BlockStore, root: Cid, on_bytes: Callable[[int], object] | None = None) -> Completeness:
    """Read and verify every block below `root`, and say what is missing; raises `BadBlockError` and as `walk` does.

    `on_bytes` is told the size of each block.
    """
    found = Completeness()
    for _, block in read_dag(store.get, [root], found.missing.append):
        found.blocks += 1
        found.bytes += len(block)
        if on_bytes:
            on_bytes(len(block))
    return found


def incomplete(what: str, missing: list[MissingBlockError], kind: type[BacpackError]) -> BacpackError:
    """Return the error, of class `kind`, that names the blocks missing below `what`."""
    names = ", ".join(str(error.cid) for error in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    damaged = [str(error.cid) for error in missing if error.code == "corrupt-block"]
    count = count_of(len(missing), "block")
    return kind(
        "incomplete",
        f"{what} is not complete: {count} missing{' or damaged' if damaged else ''}: {names}{more}",
        hint="get the blocks from a CAR file that holds them with `bacpack fetch FILE.car`",
        details={"missing": [str(error.cid) for error in missing], "damaged": damaged},
    )


def pin_recursively(
    store: BlockStore, pins: Pins, root: Cid, name: str = "", on_bytes: Callable[[int], object] | None = None
) -> Completeness:
    """Pin `root` with all it links to; raises `UnreachableError` (`incomplete`) naming the blocks that are missing."""
    with store.batch():
        found = check_blocks(store, root, on_bytes)
        if found.missing:
            raise found.error(str(root), UnreachableError)
        pins.add(root, name)
    return found


def pin_directly(store: BlockStore, pins: Pins, cid: Cid, name: str = "") -> None:
    """Pin the one block `cid`; raises `MissingBlockError`."""
    with store.batch():
        store.get(cid)
        pins.add(cid, name, "direct")


def collect_garbage(
    store: BlockStore,
    pins: Pins,
    provenance: Provenance,
    on_wait: Callable[[], None] | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Collection:
    """Delete every block that no pin reaches, and say what was kept and what pins lack.

    Below a missing block nothing can be reached, so what only it links to is deleted. `on_wait` is called if a writer
    must be waited for. Damaged blocks count as missing and are deleted.
    """

    def get(cid: Cid) -> bytes:
        # A leaf leads nowhere: that it is there is enough.
        if cid.codec != RAW or not store.has(cid):
            return store.get(cid)
        return b""

    done = Collection()
    with store.collecting(on_wait) as delete:
        pinned = pins.all()
        keep = {pin.cid for pin in pinned if pin.mode == "direct" and store.has(pin.cid)}
        done.missing = [pin.cid for pin in pinned if pin.mode == "direct" and not store.has(pin.cid)]
        recursive = [pin.cid for pin in pinned if pin.mode == "recursive"]
        missing: list[MissingBlockError] = []
        for cid, _ in read_dag(get, recursive, missing.append):
            keep.add(cid.to_v1())
            on_progress(f"{count_of(len(keep), 'pinned block')} found")
        done.missing += [error.cid for error in missing]
        deleted = []
        for cid in store:
            if cid in keep:
                done.kept_blocks += 1
                done.kept_bytes += store.size(cid) or 0
            else:
                deleted.append(cid)
        for count, cid in enumerate(deleted, 1):
            done.deleted_bytes += delete(cid)
            on_progress(f"{count} of {count_of(len(deleted), 'block')} freed")
        done.deleted_blocks = len(deleted)
        provenance.forget(deleted)
    return done


def check_complete(store: BlockStore, root: Cid, on_bytes: Callable[[int], object] | None = None) -> Completeness:
    """Return what is below `root`; raises `CheckFailedError` (`incomplete`) naming the blocks that are missing."""
    found = check_blocks(store, root, on_bytes)
    if found.missing:
        raise found.error(str(root), CheckFailedError)
    return found
