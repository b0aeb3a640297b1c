"""Targets on this machine: the store, and CAR files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.content.store.pins import Pins
from bacpack.errors import InputError
from bacpack.files import write_file
from bacpack.publish.release.release import Release
from bacpack.publish.targets.target import Missing, OnBlock, Sent, blocks_of


@dataclass(frozen=True, slots=True)
class CarTarget:
    """A CAR file to write."""

    path: Path

    @property
    def label(self) -> str:
        """How it is named."""
        return f"car:{self.path}"

    def ask(self, release: Release) -> Missing:
        """Return all of the release: a file is written whole."""
        return Missing(blocks_of(release, release.sizes))

    def send(self, release: Release, missing: Missing, on_block: OnBlock) -> Sent:
        """Write the file, whole or not at all."""
        write_car(release, self.path, on_block)
        return Sent("written")

    def close(self) -> None:
        """Do nothing: nothing is held open."""


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """The store in a folder of this machine."""

    folder: Path
    #: Called if garbage collection must be waited for.
    on_wait: Callable[[], None] | None = None

    @property
    def label(self) -> str:
        """How it is named."""
        return "store"

    def ask(self, release: Release) -> Missing:
        """Return the blocks that the store does not hold."""
        store = BlockStore(self.folder)
        return Missing(blocks_of(release, (cid for cid in release.sizes if not store.has(cid))))

    def send(self, release: Release, missing: Missing, on_block: OnBlock) -> Sent:
        """Put the release into the store and pin its root, recursively.

        All blocks are put, for that repairs those which are damaged. The pin is made last, when all are durable; if
        anything fails before, none is left.
        """
        new_blocks = new_bytes = 0
        with BlockStore(self.folder).batch(self.on_wait) as batch:
            for _, block, is_new in batch.put_all(_counted(release, on_block)):
                if is_new:
                    new_blocks += 1
                    new_bytes += len(block)
            batch.flush()
            Provenance(self.folder).record([(cid, path) for path, cid in release.files.items()], "publish")
            Pins(self.folder).add(release.root, release.name)
        return Sent("pinned", new_blocks, new_bytes)

    def close(self) -> None:
        """Do nothing: nothing is held open."""


def car_path(text: str) -> Path:
    """Read the path of a CAR file to write; raises `InputError` (`is-a-directory`) for what means a folder."""
    path = Path(text)
    if text.endswith("/") or path.is_dir():
        raise InputError(
            "is-a-directory",
            f"`{text}` is a folder, and a CAR file is to be written",
            hint=f"name the file, such as `{path / 'release.car'}`",
            details={"path": text},
        )
    return path


def write_car(release: Release, path: Path, on_block: OnBlock) -> int:
    """Write the release to a CAR file, whole or not at all; return its size in bytes."""
    size = 0

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in car_chunks([release.root], _counted(release, on_block)):
            size += len(chunk)
            yield chunk

    write_file(path, chunks())
    return size


def _counted(release: Release, on_block: OnBlock) -> Iterator[tuple[Cid, bytes]]:
    for count, (cid, block) in enumerate(release.blocks(), 1):
        yield cid, block
        on_block(count, len(block))
