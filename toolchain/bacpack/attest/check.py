"""Whether the statement of a release fits its files, and who has signed it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bacpack.attest.dsse import ENVELOPE_NAME, opened
from bacpack.attest.statement import PREDICATE_TYPE, STATEMENT_NAME, STATEMENT_TYPE
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import CheckFailedError
from bacpack.files import explain_os_error, read_file
from bacpack.manifest import Manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class _Digest(msgspec.Struct):
    sha256: str


class _Subject(msgspec.Struct):
    name: str
    digest: _Digest


class _Statement(msgspec.Struct, rename="camel"):
    subject: list[_Subject]
    predicate_type: str
    type: str = msgspec.field(name="_type")


def check_statement(folder: Path, manifest: Manifest, key: Ed25519PublicKey | None = None) -> bool:
    """Check the statement of the release in `folder`, and with `key` its signature; return whether there is one.

    Raises `CheckFailedError`: `unsigned` and `bad-signature` with a key, and `provenance-mismatch` when the statement
    is of other programs or modules than are there.
    """
    named = {entry.path for entry in manifest.provenance}
    if key is not None:
        if ENVELOPE_NAME not in named:
            raise CheckFailedError(
                "unsigned",
                f"`{folder}` is not signed: the manifest names no {ENVELOPE_NAME}",
                hint="`bacpack split --key FILE` signs",
                details={"path": str(folder)},
            )
        signed = opened(read_file(folder / ENVELOPE_NAME), key, str(folder / ENVELOPE_NAME))
        if STATEMENT_NAME not in named or signed != read_file(folder / STATEMENT_NAME):
            raise _mismatch(folder, "what is signed is another statement")
    if STATEMENT_NAME not in named:
        return False
    stated = _subjects(folder)
    paths = {app.path for app in manifest.apps} | {module.path for module in manifest.modules}
    if differing := sorted(paths ^ stated.keys()):
        path = differing[0]
        verbs = ("does not name", "does") if path in paths else ("names", "does not")
        raise _mismatch(folder, f"it {verbs[0]} `{path}`, and the manifest {verbs[1]}")
    for path in sorted(paths):
        digest = _sha256(folder / path)
        if digest != stated[path]:
            raise _mismatch(folder, f"`{path}` is {digest}, and it says {stated[path]}")
    return True


def _subjects(folder: Path) -> dict[str, str]:
    """The digest that the statement has for each path."""
    try:
        statement = decode_json(read_file(folder / STATEMENT_NAME), _Statement)
    except DecodeError as error:
        raise _mismatch(folder, f"it cannot be read: {error}") from error
    if (statement.type, statement.predicate_type) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise _mismatch(folder, f"it is `{statement.type}` with `{statement.predicate_type}`")
    return {entry.name: entry.digest.sha256 for entry in statement.subject}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error


def _mismatch(folder: Path, reason: str) -> CheckFailedError:
    path = folder / STATEMENT_NAME
    return CheckFailedError(
        "provenance-mismatch",
        f"`{path}` does not fit the release: {reason}",
        hint="split the programs again; do not trust the release if it is not your own",
        details={"path": str(path)},
    )
