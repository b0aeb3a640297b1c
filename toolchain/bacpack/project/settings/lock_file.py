"""The lock file: what URLs gave when they were first used, and what modules a build was linked with.

A module may import from a URL, which promises nothing about its bytes. `bacpack.lock` notes their CID; whoever runs the
program again, here or where the file was copied to, gets those bytes or an error.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bacpack.content.cid.cid import BadCidError, Cid
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import explain_os_error, read_file, write_file
from bacpack.project.settings.config import find_config

#: The name of the file.
LOCK_NAME = "bacpack.lock"


class LockedUrl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a URL gave."""

    cid: str
    bytes: int
    #: What kind of source it is, as the run report names them.
    source: str = "url"


class LockedModule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a name in `[modules]` stands for."""

    cid: str
    bytes: int
    #: What `bacpack.toml` says that it is.
    source: str


class _Lock(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    schema: int = 1
    urls: dict[str, LockedUrl] = {}
    modules: dict[str, LockedModule] = {}


def lock_path(state: Path, start: Path | None = None) -> Path:
    """Return where the lock file is: beside the nearest `bacpack.toml` from `start` upwards, or else in `state`."""
    config = find_config(start)
    return (config.parent if config else state) / LOCK_NAME


class UrlLock:
    """The lock file at `path`, which is made when the first URL is used. Safe for processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hold(self, url: str, cid: Cid, size: int) -> bool:
        """Compare what `url` gave with what it gave before; return False, and note it, if this is the first time.

        Raises `CheckFailedError` (`lock-mismatch`), and `InputError` when the file cannot be used (`bad-lock`).
        """
        known = self._read().urls.get(url)
        if known is None:
            with self._writing():
                lock = self._read()
                # Another process may have been first.
                known = lock.urls.setdefault(url, LockedUrl(cid=str(cid), bytes=size))
                if known == LockedUrl(cid=str(cid), bytes=size):
                    self._write(lock)
                    return False
        if known.cid != str(cid):
            raise CheckFailedError(
                "lock-mismatch",
                f"`{url}` does not give what it gave before: expected {known.cid} ({known.bytes} bytes), "
                f"got {cid} ({size} bytes)",
                hint=f"if you trust the change, remove the entry of this URL from `{self.path}` and try again",
                details={"url": url, "expected": known.cid, "got": str(cid), "lock": str(self.path)},
            )
        return True

    def modules(self) -> dict[str, LockedModule]:
        """What the names in `[modules]` stood for when they were noted last."""
        return self._read().modules

    def set_modules(self, modules: Mapping[str, LockedModule]) -> None:
        """Note what the names in `[modules]` stand for; nothing is written if that is known."""
        wanted = dict(sorted(modules.items()))
        if wanted == self._read().modules:
            return
        with self._writing():
            lock = self._read()
            lock.modules = wanted
            self._write(lock)

    def _read(self) -> _Lock:
        if not self.path.exists():
            return _Lock()
        data = read_file(self.path)
        try:
            lock = decode_json(data, _Lock)
            for cid in [*(url.cid for url in lock.urls.values()), *(module.cid for module in lock.modules.values())]:
                Cid.parse(cid)
        except (DecodeError, BadCidError) as error:
            raise self._bad(str(error)) from error
        if lock.schema != 1:
            raise self._bad(f"it was written by a newer bacpack (schema {lock.schema})")
        return lock

    def _write(self, lock: _Lock) -> None:
        lock.urls = dict(sorted(lock.urls.items()))
        content = msgspec.to_builtins(lock)
        if not lock.modules:
            # Without a project there are none to note.
            del content["modules"]
        write_file(self.path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # The folder is locked, not the file: that is replaced, and a lock file of the lock file would be in the way.
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explain_os_error(error, f"write `{self.path}`") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _bad(self, reason: str) -> InputError:
        return InputError(
            "bad-lock",
            f"`{self.path}` cannot be used: {reason}",
            hint="restore it, or remove it to trust anew what URLs give",
            details={"path": str(self.path)},
        )
