"""Where a release is published to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bacpack.content.car import car_chunks
from bacpack.content.cid import Cid
from bacpack.content.pins import Pins
from bacpack.content.provenance import Provenance
from bacpack.content.store import BlockStore
from bacpack.errors import InputError
from bacpack.files import write_file
from bacpack.publish.release import Release

#: Told how many blocks were written so far.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class CarTarget:
    """A CAR file to write."""

    path: Path

    def __str__(self) -> str:
        return f"car:{self.path}"


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """The store on this machine."""

    def __str__(self) -> str:
        return "store"


def parse_target(text: str) -> CarTarget | StoreTarget:
    """Read a target as `--to` takes it; raises `InputError` (`unknown-target`, `is-a-directory`)."""
    if text == "store":
        return StoreTarget()
    kind, _, rest = text.partition(":")
    if kind == "car" and rest:
        return CarTarget(car_path(rest))
    raise InputError(
        "unknown-target",
        f"`{text}` is no target that can be published to",
        hint="supported targets: `store`, and `car:FILE`",
        details={"target": text},
    )


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


def write_car(release: Release, path: Path, on_block: Progress) -> int:
    """Write the release to a CAR file, whole or not at all; return its size in bytes."""
    size = 0

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in car_chunks([release.root], _counted(release, on_block)):
            size += len(chunk)
            yield chunk

    write_file(path, chunks())
    return size


def publish_to_store(
    release: Release, folder: Path, on_block: Progress, on_wait: Callable[[], None] | None = None
) -> int:
    """Put the release into the store in `folder` and pin its root, recursively; return the bytes of new blocks.

    The pin is made last, when all blocks are durable; if anything fails before, none is left.
    """
    new_bytes = 0
    with BlockStore(folder).batch(on_wait) as batch:
        for cid, block in _counted(release, on_block):
            if batch.put(cid, block, verified=True):
                new_bytes += len(block)
        batch.flush()
        Provenance(folder).record([(cid, path) for path, cid in release.files.items()], "publish")
        Pins(folder).add(release.root, release.name)
    return new_bytes


def bytes_not_in_store(release: Release, folder: Path) -> int:
    """Return the bytes of the blocks that the store in `folder` does not hold; nothing is written."""
    store = BlockStore(folder)
    return sum(size for cid, size in release.sizes.items() if not store.has(cid))


def _counted(release: Release, on_block: Progress) -> Iterator[tuple[Cid, bytes]]:
    for count, block in enumerate(release.blocks(), 1):
        yield block
        on_block(count)
