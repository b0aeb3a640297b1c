"""The block store: one file a block, named by its CID, in folders named by the two characters before the CID's last.

    blocks/<next-to-last two characters>/<cid, version 1, base32>
    blocks/tmp/          files being written
    lock                 shared by writers, exclusive for garbage collection

A block is written to a temporary file, forced to disk and renamed, so a file under its final name is whole, whenever
power or process ends. The layout is that of kubo's flatfs with the CID in the name, which a person can read and check
with `sha256sum`. Identity CIDs hold their data themselves and are never stored.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bacpack.content.cid.block import CorruptBlockError, MissingBlockError, block_mismatch
from bacpack.content.cid.cid import BadCidError, Cid
from bacpack.files import explain_os_error, placed, sync_folder

_TEMPORARY = "tmp"
#: How many blocks are written at a time, and how many may wait for that: more gain nothing.
_WRITERS = 8
_WAITING_BLOCKS = 64
_WAITING_BYTES = 8 << 20
#: How many folders are forced to disk at a time, if there are more than a few.
_SYNCERS, _FEW_FOLDERS = 16, 4


class BlockStore:
    """Blocks below `folder`, which need not exist: it is made by the first write. Safe for threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks = folder / "blocks"
        self._folder_of_blocks = str(self._blocks)

    def path(self, cid: Cid) -> Path:
        """Where the block `cid` is or would be."""
        return Path(self.path_of(str(cid.to_v1())))

    def path_of(self, name: str) -> str:
        """Where the block is whose CID, version 1, base32, is `name`."""
        return f"{self._folder_of_blocks}/{name[-3:-1]}/{name}"

    def get(self, cid: Cid, *, verify: bool = True) -> bytes:
        """Return a block; raises `MissingBlockError`, and `CorruptBlockError` when it no longer matches its CID."""
        if cid.is_identity:
            return cid.identity_data
        path = self.path(cid)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise MissingBlockError(cid) from None
        except OSError as error:
            raise explain_os_error(error, f"read block `{path}`") from error
        if verify and not cid.matches(data):
            raise CorruptBlockError(cid, f"the store (`{path}`)")
        return data

    def has(self, cid: Cid) -> bool:
        """Whether the store holds the block; its bytes are not looked at."""
        return cid.is_identity or os.path.isfile(self.path_of(str(cid.to_v1())))  # noqa: PTH113 - a `Path` for each of thousands is slow

    def size(self, cid: Cid) -> int | None:
        """Size of a block in bytes, or None if the store does not hold it."""
        if cid.is_identity:
            return len(cid.identity_data)
        try:
            return self.path(cid).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def __iter__(self) -> Iterator[Cid]:
        """Yield the CID, version 1, of every block, in no order that means anything."""
        for path in self._blocks.glob("??/*"):
            try:
                cid = Cid.parse(path.name)
            except BadCidError:
                continue
            if path == self.path(cid):
                yield cid

    def put(self, cid: Cid, data: bytes, *, verified: bool = False) -> bool:
        """Store one block durably; see `Batch.put`."""
        with self.batch() as batch:
            return batch.put(cid, data, verified=verified)

    @contextmanager
    def batch(self, on_wait: Callable[[], None] | None = None) -> Iterator[Batch]:
        """Yield a `Batch` to put many blocks through; when the block ends well they are durable.

        Garbage is not collected meanwhile, so pin inside the block, after `Batch.flush`.
        """
        with self._locked(fcntl.LOCK_SH, on_wait):
            batch = Batch(self)
            try:
                yield batch
            finally:
                batch.flush()

    @contextmanager
    def collecting(self, on_wait: Callable[[], None] | None = None) -> Iterator[Callable[[Cid], int]]:
        """Shut out every writer, and yield a function that deletes a block and returns how many bytes that freed.

        `on_wait` is called once if a writer must be waited for. Temporary files that writers left when they were
        killed are removed.
        """
        with self._locked(fcntl.LOCK_EX, on_wait):
            for path in self._blocks.glob(f"{_TEMPORARY}/*"):
                path.unlink(missing_ok=True)
            yield self._delete

    def delete(self, cid: Cid) -> int:
        """Delete a block and return how many bytes that freed; 0 if the store does not hold it."""
        with self.collecting() as delete:
            return delete(cid)

    def _delete(self, cid: Cid) -> int:
        size = self.size(cid) or 0
        if not cid.is_identity:
            self.path(cid).unlink(missing_ok=True)
        return size

    @contextmanager
    def _locked(self, mode: int, on_wait: Callable[[], None] | None) -> Iterator[None]:
        # flock, for it can be shared, and the system gives it back when a process is killed.
        path = self.folder / "lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise explain_os_error(error, f"use the store at `{self.folder}`") from error
        try:
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait:
                    on_wait()
                fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)


class Batch:
    """Puts blocks into a store, and forces the folders they are in to disk once for many blocks.

    A block is under its final name as soon as `put` returns, but only after `flush` is it sure to stay there if power
    fails: pin nothing before.
    """

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._folders: set[Path] = set()

    def put(self, cid: Cid, data: bytes, *, verified: bool = False) -> bool:
        """Store a block and return whether it was new, or repaired what was damaged.

        A block that is there already is read back and compared, which costs less than to write it, so that damage is
        repaired by the next put. Raises `CheckFailedError` (`block-mismatch`) when `data` is not what `cid` names;
        `verified` says that the caller has just checked that. Raises `InputError` when the disk is full or may not be
        written.
        """
        if not verified and not cid.matches(data):
            raise block_mismatch(cid, data)
        if cid.is_identity:
            return False
        path = self._store.path(cid)
        try:
            if _holds(path, data):
                return False
            self._write(path, data)
        except OSError as error:
            raise explain_os_error(error, f"write block `{path}`") from error
        return True

    def put_all(self, blocks: Iterable[tuple[Cid, bytes]]) -> Iterator[tuple[Cid, bytes, bool]]:
        """Put verified blocks; yield each, and whether it was new, as soon as it is under its final name.

        Several are forced to disk at a time, which the disk does in a fraction of the time that one after the other
        takes. Raises as `put`; those under way are finished then.
        """
        from concurrent.futures import Future, ThreadPoolExecutor

        waiting: deque[tuple[Cid, bytes, Future[bool]]] = deque()
        under_way: set[Cid] = set()
        size = 0
        with ThreadPoolExecutor(_WRITERS) as pool:
            try:
                for cid, data in blocks:
                    key = cid.to_v1()
                    if key in under_way:
                        # Two that look at once would both find that it is not there.
                        again: Future[bool] = Future()
                        again.set_result(False)
                        waiting.append((cid, data, again))
                    else:
                        under_way.add(key)
                        waiting.append((cid, data, pool.submit(self.put, cid, data, verified=True)))
                    size += len(data)
                    while size > _WAITING_BYTES or len(waiting) > _WAITING_BLOCKS:
                        done, block, result = waiting.popleft()
                        size -= len(block)
                        under_way.discard(done.to_v1())
                        yield done, block, result.result()
                for done, block, result in waiting:
                    yield done, block, result.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def flush(self) -> None:
        """Make every block put so far durable."""
        folders = self._take_folders()
        if len(folders) <= _FEW_FOLDERS:
            for folder in folders:
                _sync(folder)
            return
        from concurrent.futures import ThreadPoolExecutor

        # A disk forces several to itself in little more time than one.
        with ThreadPoolExecutor(_SYNCERS) as pool:
            for _ in pool.map(_sync, folders):
                pass

    def leave(self) -> None:
        """Let the blocks put so far stay if they may: after a power failure some may be gone, and none damaged."""
        self._take_folders()

    def _take_folders(self) -> list[Path]:
        folders = []
        while self._folders:
            folders.append(self._folders.pop())
        return folders

    def _write(self, path: Path, data: bytes) -> None:
        folder = path.parent
        temporary = folder.parent / _TEMPORARY / f"{path.name}.{os.urandom(8).hex()}"
        if folder not in self._folders:
            for new in (temporary.parent, folder):
                new.mkdir(parents=True, exist_ok=True)
            self._folders.update((folder, folder.parent, self._store.folder))
        with placed(path, temporary) as descriptor, os.fdopen(descriptor, "wb", buffering=0, closefd=False) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        # Again, should another thread have forced it to disk meanwhile.
        self._folders.add(folder)


def _sync(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        raise explain_os_error(error, f"write `{folder}`") from error


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file at `path` has exactly these bytes."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.read() == data
    except FileNotFoundError:
        return False
