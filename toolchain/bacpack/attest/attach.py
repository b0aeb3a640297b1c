"""Putting a statement, and a signature under it, beside the programs that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bacpack.attest.source import LOCAL_BUILDER, Source
from bacpack.attest.statement import STATEMENT_NAME, make_statement
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.manifest import Manifest, ProvenanceFile

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from bacpack.split.model.records import Split


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a statement says besides what the split itself knows."""

    source: Source | None = None
    builder: str = LOCAL_BUILDER
    #: Time, ISO 8601, if one is to be named.
    finished: str | None = None
    key: Ed25519PrivateKey | None = None


def with_provenance(
    manifest: Manifest, split: Split, catalogs: Sequence[str], circumstances: Circumstances
) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest of a split with the names of the provenance files, and their bytes.

    `catalogs` has the digests of those that the split took modules from.
    """
    apps = {app.name: app for app in split.apps}
    contents = {entry.path: apps[entry.name].data for entry in manifest.apps}
    contents |= {entry.path: split.modules[entry.cid].data for entry in manifest.modules}
    statement = make_statement(
        manifest,
        contents,
        {name: app.blob for name, app in apps.items()},
        catalogs=catalogs,
        source=circumstances.source,
        builder=circumstances.builder,
        finished=circumstances.finished,
    )
    files = {STATEMENT_NAME: statement}
    if circumstances.key is not None:
        from bacpack.attest.dsse import ENVELOPE_NAME, sign

        files[ENVELOPE_NAME] = sign(statement, circumstances.key)
    named = [
        ProvenanceFile(path=path, cid=str(cid_of_bytes(data)), bytes=len(data)) for path, data in sorted(files.items())
    ]
    return msgspec.structs.replace(manifest, provenance=named), files
