"""Writing a split to a folder: all of it, or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import InputError
from bacpack.files import explain_os_error, sync_folder, write_durably
from bacpack.manifest import (
    MANIFEST_NAME,
    App,
    CatalogFile,
    Manifest,
    ProvenanceFile,
    SharedModule,
    Totals,
    encode_manifest,
    load_manifest,
)
from bacpack.split.catalog.catalog import CATALOG_FOLDER, catalog_files
from bacpack.split.model.records import Split

MODULES_FOLDER = "modules"
_SUFFIX = ".wasm"


def make_manifest(split: Split, blob_names: dict[str, str]) -> Manifest:
    """Describe a split; `blob_names` gives the file name of each app's blob."""
    users: dict[str, set[str]] = {cid: set() for cid in split.modules}
    apps = []
    for app in split.apps:
        closure = split.closure(app)
        for cid in closure:
            users[cid].add(app.name)
        apps.append(
            App(
                name=app.name,
                blob=blob_names[app.name],
                blob_cid=str(cid_of_bytes(app.blob)),
                blob_bytes=app.blob_bytes,
                path=app.name + _SUFFIX,
                cid=str(cid_of_bytes(app.data)),
                bytes=len(app.data),
                closure_bytes=len(app.data) + sum(len(split.modules[cid].data) for cid in closure),
                imports=sorted(app.imports),
                verified=app.proved,
                reused=app.kept_reports is None,
            )
        )
    modules = [
        SharedModule(
            cid=cid,
            path=f"{MODULES_FOLDER}/{cid}{_SUFFIX}",
            bytes=len(module.data),
            kind=module.kind,
            users=sorted(users[cid]),
            reused=module.reused,
        )
        for cid, module in sorted(split.modules.items())
    ]
    stored = {app.cid: app.bytes for app in apps} | {module.cid: module.bytes for module in modules}
    totals = Totals(blob_bytes=sum(app.blob_bytes for app in apps), split_bytes=sum(stored.values()))
    catalog = [
        CatalogFile(path=path, cid=str(cid_of_bytes(data)), bytes=len(data))
        for path, data in sorted(catalog_files(split).items())
    ]
    apps.sort(key=lambda app: app.name)
    return Manifest(apps=apps, modules=modules, catalog=catalog, totals=totals)


def write_split(folder: Path, split: Split, manifest: Manifest, provenance: Mapping[str, bytes] | None = None) -> None:
    """Write remainders, modules, catalog and manifest to `folder`; of an earlier split, what this one lacks goes away.

    `provenance` has the bytes of the files that the manifest names as such.

    Everything is written to a folder aside and moved into place at the end, the manifest last. Raises `InputError` when
    it cannot be written; then nothing has changed.
    """
    contents = {app.name + _SUFFIX: app.data for app in split.apps}
    contents |= {module.path: split.modules[module.cid].data for module in manifest.modules}
    contents |= catalog_files(split)
    contents |= provenance or {}
    contents[MANIFEST_NAME] = encode_manifest(manifest)
    earlier = _files_of_earlier_split(folder)
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".bacpack-", dir=folder))
        try:
            for subfolder in (MODULES_FOLDER, CATALOG_FOLDER):
                (aside / subfolder).mkdir()
            for path, data in contents.items():
                write_durably(aside / path, data)
            for subfolder in (MODULES_FOLDER, CATALOG_FOLDER):
                (folder / subfolder).mkdir(exist_ok=True)
            for path in contents:
                (aside / path).replace(folder / path)
            for path in earlier - contents.keys():
                (folder / path).unlink(missing_ok=True)
        except BaseException:
            if made:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        for subfolder in (MODULES_FOLDER, CATALOG_FOLDER):
            sync_folder(folder / subfolder)
        sync_folder(folder)
    except OSError as error:
        raise explain_os_error(error, f"write to `{folder}`") from error


def _files_of_earlier_split(folder: Path) -> set[str]:
    if not (folder / MANIFEST_NAME).is_file():
        return set()
    try:
        manifest = load_manifest(folder)
    except InputError:
        return set()  # not ours to judge here: it is replaced
    entries: list[App | SharedModule | CatalogFile | ProvenanceFile] = [*manifest.apps, *manifest.modules]
    entries += [*manifest.catalog, *manifest.provenance]
    paths = {entry.path for entry in entries}
    return {path for path in paths if not Path(path).is_absolute() and ".." not in Path(path).parts}
