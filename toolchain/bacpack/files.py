"""Reading and writing files so that a failure leaves nothing half-written and says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bacpack.errors import BacpackError, InputError

_BUFFER_BYTES = 1 << 20
#: So much of a file is written before the system is told to write it to disk.
_FLUSH_BYTES = 16 << 20

_HINTS = {
    errno.ENOENT: ("not-found", "check the path"),
    errno.ENOTDIR: ("not-found", "check the path"),
    errno.EEXIST: ("not-a-folder", "a file is in the way: move it, or choose another folder"),
    errno.EISDIR: ("is-a-directory", "name a file, not a folder"),
    errno.EACCES: ("no-permission", "check the permissions of the file and of the folders above it"),
    errno.EPERM: ("no-permission", "check the permissions of the file and of the folders above it"),
    errno.EROFS: ("no-permission", "the file system is read-only: choose another folder"),
    errno.ENOSPC: ("disk-full", "free some space or choose another folder; nothing was left half-written"),
    errno.EDQUOT: ("disk-full", "your quota is used up: free some space or choose another folder"),
}


def explain_os_error(error: OSError, doing: str) -> BacpackError:
    """Turn an operating system error met while `doing` something ("read app.wasm") into one with a hint."""
    code, hint = _HINTS.get(error.errno or 0, ("io-error", "see the system's message above"))
    reason = error.strerror or str(error)
    details = {"path": os.fspath(error.filename)} if isinstance(error.filename, str | os.PathLike) else {}
    return InputError(code, f"cannot {doing}: {reason}", hint=hint, details=details)


def read_file(path: Path) -> bytes:
    """Return the content of `path`; raises `InputError` saying why it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error


def sync_folder(folder: Path) -> None:
    """Make the entries of `folder` durable, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing_aside(path: Path) -> Iterator[int]:
    """Yield a descriptor of a temporary file beside `path`; put it in place, durable, when the block succeeds.

    When the block fails the temporary file is removed and `path` is as it was. Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".bacpack-{os.urandom(8).hex()}.tmp"
    try:
        # Named before it is there, so that an interrupt at any moment leaves nothing.
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_file(path: Path, chunks: bytes | Iterable[bytes]) -> None:
    """Write `chunks` to `path`, whole or not at all; raises `InputError` saying why it cannot be written."""
    try:
        with writing_aside(path) as descriptor, os.fdopen(descriptor, "wb", _BUFFER_BYTES, closefd=False) as file:
            written = flushed = 0
            for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
                written += file.write(chunk)
                if written - flushed >= _FLUSH_BYTES:
                    _start_flushing(descriptor, max(flushed - _FLUSH_BYTES, 0))
                    flushed = written
    except OSError as error:
        raise explain_os_error(error, f"write `{path}`") from error


def _start_flushing(descriptor: int, start: int) -> None:
    """Have the system write what is in a file from `start` on to disk now, and forget what is written already.

    Else it piles a large file up in memory, which is slow to get, and writes all of it only when that is forced.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, 0, os.POSIX_FADV_DONTNEED)
