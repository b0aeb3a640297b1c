"""Between CAR files and the store: checking a CAR file whole, and bringing one in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.car import CarReader
from bacpack.content.cid.block import BadBlockError, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import links_of, walk
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.reader import walk_files
from bacpack.errors import InputError
from bacpack.files import explain_os_error


@dataclass(frozen=True, slots=True)
class CarContents:
    """What a CAR file holds. Sizes are in bytes, of the blocks alone; a repeated block counts once."""

    version: int
    roots: tuple[Cid, ...]
    blocks: int
    bytes: int
    #: Blocks that the roots need and the file does not hold.
    missing: tuple[MissingBlockError, ...]


def inspect_car(
    path: Path, *, store: BlockStore | None = None, on_progress: Callable[[int], None] | None = None
) -> CarContents:
    """Read a CAR file to its end, verify every block, and find what its roots lack.

    A block that is in `store` is not lacking. `on_progress` is called with the bytes read so far. Raises `CarError`,
    `CheckFailedError` (`block-mismatch`), `InputError`, and as `walk` does.
    """
    links: dict[Cid, Sequence[Cid]] = {}
    total = 0
    try:
        with path.open("rb") as file:
            reader = CarReader(file, f"`{path}`")
            for cid, block in reader:
                key = cid.to_v1()
                if key not in links:
                    links[key] = links_of(cid, block)
                    total += len(block)
                if on_progress:
                    on_progress(total)
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error

    def below(cid: Cid) -> Sequence[Cid]:
        if cid.to_v1() in links:
            return links[cid.to_v1()]
        if cid.is_identity:
            return links_of(cid, cid.identity_data)
        if store is not None:
            return links_of(cid, store.get(cid))
        raise MissingBlockError(cid, f"`{path}`")

    missing: list[MissingBlockError] = []
    for _ in walk(reader.roots, below, missing.append):
        pass
    # A root that is named twice is one.
    roots = tuple(dict.fromkeys(reader.roots))
    return CarContents(reader.version, roots, len(links), total, tuple(missing))


def file_size(path: Path) -> int | None:
    """Size of a file in bytes, or None where it cannot be told: reading it will say why."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def import_car(path: Path, store: BlockStore, finish: Callable[[], None]) -> int:
    """Put every block of a CAR file into `store`, verified, and return how many bytes were new.

    `finish` is called when all are durable and before garbage can be collected: pin there.
    """
    new_bytes = 0
    try:
        with path.open("rb") as file, store.batch() as batch:
            for _, block, is_new in batch.put_all(CarReader(file, f"`{path}`")):
                if is_new:
                    new_bytes += len(block)
            batch.flush()
            finish()
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error
    return new_bytes


def require_roots(contents: CarContents, path: Path) -> None:
    """Raise `InputError` (`car-no-roots`) if the file does not say what it holds."""
    if not contents.roots:
        raise InputError(
            "car-no-roots",
            f"`{path}` names no root, so what it holds has no beginning",
            hint="pack the content again with a root",
            details={"path": str(path)},
        )


def named_files(store: BlockStore, roots: Sequence[Cid]) -> Iterator[tuple[Cid, str]]:
    """Yield the files below `roots` with their paths, for `Provenance.record`; what is no UnixFS has no name."""
    for root in roots:
        try:
            files = list(walk_files(store.get, root))
        except BadBlockError:
            files = [("", root)]
        for path, cid in files:
            yield cid, path
