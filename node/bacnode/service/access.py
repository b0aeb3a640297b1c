"""Who may administer the node: whoever can read the token file in its state folder, and shows the token."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request

from bacnode.service.errors import RequestError
from bacpack.errors import InputError
from bacpack.files import explain_os_error, sync_folder

TOKEN_FILE = "node-token"

#: Bytes of randomness in a token that is made here.
_TOKEN_BYTES = 32
#: A token that a person wrote into the file may be shorter, but not so short that it can be guessed.
_MIN_TOKEN_CHARACTERS = 16


def load_token(folder: Path) -> str:
    """Return the token in `folder`, made on first use; raises `InputError` (`bad-node-token`)."""
    path = folder / TOKEN_FILE
    token = private_file(path, lambda: secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n")
    text = token.decode("ascii", "replace").strip()
    if len(text) < _MIN_TOKEN_CHARACTERS or not text.isprintable() or not text.isascii() or " " in text:
        raise InputError(
            "bad-node-token",
            f"`{path}` holds no token: {_MIN_TOKEN_CHARACTERS} or more printable characters of ASCII, without spaces",
            hint="delete the file: the next start makes a new one",
            details={"path": str(path)},
        )
    return text


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


class Access:
    """Checks requests against the node's token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode("ascii")

    def require(self, request: Request) -> None:
        """Raise `RequestError` (`unauthorized`) unless the request shows the token."""
        given = request.headers.get("Authorization", "")
        scheme, _, token = given.partition(" ")
        shown = f"{scheme.capitalize()} {token.strip()}".encode("utf-8", "replace")
        # In constant time, so that how long it takes tells nothing of the token.
        if not hmac.compare_digest(shown, self._expected):
            raise RequestError(
                "unauthorized",
                "this needs the node's token" if not given else "the token is not this node's",
                hint=f"send `Authorization: Bearer TOKEN`; the token is in the file `{TOKEN_FILE}` in the node's store",
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
