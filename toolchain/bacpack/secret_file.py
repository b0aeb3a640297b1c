"""Files that only their owner may read: secrets that are made on first use."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from bacpack.errors import InputError
from bacpack.files import explain_os_error, sync_folder


def private_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what `path` holds; if it is not there, write what `make` returns, readable by its owner alone.

    Raises `InputError`, also when others may read the file (`not-private`).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path, make())
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise InputError(
                    "not-private",
                    f"others may read `{path}`, which must be secret",
                    hint=f"`chmod 600 '{path}'` if no one did, otherwise delete it: the next start makes a new one",
                    details={"path": str(path)},
                )
            return file.read()
    except OSError as error:
        raise explain_os_error(error, f"use `{path}`") from error


def _create(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all; one that another process made meanwhile stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            # A link, for it fails where a rename would replace.
            path.hardlink_to(temporary)
        except FileExistsError:
            return
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
