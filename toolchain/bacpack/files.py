"""Reading and writing files so that a failure leaves nothing half-written and says what to do."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bacpack.errors import BacpackError, InputError

_BUFFER_BYTES = 1 << 20
#: So much of a file is written before the system is told to write it to disk.
_FLUSH_BYTES = 16 << 20
#: So much is read of a pipe or a device, which may never end; no module has more.
_MAX_STREAM_BYTES = 1 << 30

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


def explain_not_utf8(error: UnicodeEncodeError) -> BacpackError:
    """Turn the failure to write a name, a path or an argument as UTF-8 into an error with a hint."""
    text = error.object.encode(errors="replace").decode()
    return InputError("not-utf8", f"`{text}` is not UTF-8", hint="rename the file or folder: it is passed on as text")


def read_file(path: Path) -> bytes:
    """Return the content of `path`; raises `InputError` saying why not, `too-large` if it does not end."""
    try:
        if not _is_special(path):
            return path.read_bytes()
        with path.open("rb") as file:
            data = file.read(_MAX_STREAM_BYTES + 1)
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error
    if len(data) <= _MAX_STREAM_BYTES:
        return data
    raise InputError(
        "too-large",
        f"`{path}` gives more than {_MAX_STREAM_BYTES} bytes",
        hint="name a file, or a pipe that ends",
        details={"path": str(path)},
    )


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

    When the block fails the temporary file is removed and `path` is as it was. Missing parent folders are made. Where
    `path` is a link, what it leads to is written; a device or a pipe is written to as it is, and never replaced.
    """
    if _is_special(path):
        with path.open("wb", buffering=0) as file:
            yield file.fileno()
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".bacpack-{os.urandom(8).hex()}.tmp"
    with placed(path, aside) as descriptor:
        yield descriptor
    sync_folder(path.parent)


@contextmanager
def placed(path: Path, aside: Path, mode: int = 0o666, *, durable: bool = True) -> Iterator[int]:
    """Yield a descriptor of a new file `aside`, which takes the place of `path` when the block succeeds.

    Otherwise it is removed. Its folder is there, and that of `path`, on the same file system; raises `OSError`.
    """
    try:
        # Named before it is there, so that an interrupt at any moment leaves nothing.
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            yield descriptor
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_durably(path: Path, data: bytes) -> None:
    """Write a file where nobody looks yet, and force it to disk; raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        # That an empty one is there says nothing.
        if data:
            os.fsync(file.fileno())


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


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
        with suppress(OSError):  # a pipe takes no such advice
            os.posix_fadvise(descriptor, start, 0, os.POSIX_FADV_DONTNEED)
