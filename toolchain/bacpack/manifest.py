"""The manifest `bacpack.json` of a release: which programs and modules it holds and how they belong together.

Its bytes are part of the release's CID, so it holds nothing that differs between two machines that split the same
blobs: no absolute path, no time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from bacpack.decode import DecodeError, decode_json
from bacpack.errors import InputError
from bacpack.files import read_file

#: The manifest's name in the folder that `split` writes and in a published release.
MANIFEST_NAME = "bacpack.json"

ModuleKind = Literal["environment", "shared", "data"]


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One program: its remainder and what it was split from. Sizes are in bytes, paths relative to the manifest."""

    name: str
    #: File name of the blob this was split from.
    blob: str
    #: CID of the blob's bytes.
    blob_cid: str
    #: Size of the blob without its debug and name sections: what a stripped blob weighs.
    blob_bytes: int
    path: str
    cid: str
    bytes: int
    #: Size of the remainder and of every module it needs, directly or through others.
    closure_bytes: int
    #: CIDs of the modules that the remainder imports directly, sorted.
    imports: list[str]
    #: Whether it was proved, before it was written, to behave as its blob; one that is its blob, byte for byte, is so.
    verified: bool
    #: Whether the remainder was taken over from the release of a catalog.
    reused: bool = False


class SharedModule(msgspec.Struct, frozen=True, kw_only=True):
    """One module that programs import: the environment, shared code, or shared data."""

    cid: str
    path: str
    bytes: int
    kind: ModuleKind
    #: Names of the programs that need it, directly or through others, sorted.
    users: list[str]
    #: Whether it came from a catalog of modules published before.
    reused: bool = False


class CatalogFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the catalog, by which later splits find the modules."""

    path: str
    cid: str
    bytes: int


class ProvenanceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that says what the programs and modules were made of, or a signature under it."""

    path: str
    cid: str
    bytes: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the release, in bytes: `split_bytes` counts every program and module once."""

    blob_bytes: int
    split_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `bacpack.json`; apps sorted by name, modules by CID."""

    schema: int = 1
    apps: list[App]
    modules: list[SharedModule]
    #: Files of the catalog, sorted by path.
    catalog: list[CatalogFile] = []
    #: The statement and its signature, sorted by path.
    provenance: list[ProvenanceFile] = []
    totals: Totals


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of `bacpack.json` for `manifest`: the same manifest gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(data: bytes, origin: str) -> Manifest:
    """Read a manifest found at `origin` (a path or CID, for messages); raises `InputError` (`bad-manifest`)."""
    try:
        return decode_json(data, Manifest)
    except DecodeError as error:
        raise InputError(
            "bad-manifest",
            f"the manifest at `{origin}` cannot be read: {error}",
            hint=f"`bacpack split` writes {MANIFEST_NAME}; do not edit it by hand",
        ) from error


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest in `folder`; raises `InputError` when it is missing or malformed."""
    path = folder / MANIFEST_NAME
    return decode_manifest(read_file(path), str(path))
