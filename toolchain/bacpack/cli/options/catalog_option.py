"""Opening the catalogs that `--catalog` names: each in a folder, in a CAR file, or by CID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bacpack.errors import InputError

if TYPE_CHECKING:
    from bacpack.cli.options.source_options import SourceOptions
    from bacpack.split.catalog.catalog import Catalog
    from bacpack.split.catalog.release_files import ReadFile


def open_catalogs(refs: Sequence[str], sources: SourceOptions) -> list[Catalog]:
    """Open the catalogs of some releases.

    Raises `InputError`, `UnreachableError`, and `CheckFailedError` when bytes are not what their CID says.
    """
    from bacpack.split.catalog.catalog import Catalog

    return [Catalog.open(ref, _reader(ref, sources)) for ref in refs]


def _reader(ref: str, sources: SourceOptions) -> ReadFile:
    from bacpack.content.cid.reference import PathRef, UrlRef, parse_ref
    from bacpack.split.catalog.release_files import content_reader, folder_reader

    parsed = parse_ref(ref)
    if isinstance(parsed, UrlRef):
        raise _no_release(ref, "is a URL, which says nothing of what belongs together")
    if isinstance(parsed, PathRef) and parsed.path.is_dir():
        return folder_reader(parsed.path)

    from bacnode.fetch.limits import LoadLimits
    from bacnode.programs.open_program import Folder, open_ref
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder

    limits = LoadLimits()
    opened = open_ref(ref, BlockStore(data_folder()), sources.web(), limits)
    if not isinstance(opened, Folder) or opened.cid is None:
        raise _no_release(ref, "is a file")
    return content_reader(opened.sources.get, opened.cid, limits.module_bytes)


def _no_release(ref: str, why: str) -> InputError:
    return InputError(
        "no-catalog",
        f"`{ref}` is no release that could have a catalog: it {why}",
        hint="name the folder that `bacpack split` wrote, the CAR file of a release, or its CID",
        details={"ref": ref},
    )
