"""Releases as `bacpack split` writes them, made without it."""

from __future__ import annotations

import random
from pathlib import Path

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.manifest import MANIFEST_NAME, App, Manifest, SharedModule, Totals, encode_manifest


def write_release(
    folder: Path, *, apps: int = 2, modules: int = 3, module_bytes: int = 3000, seed: int = 1
) -> Manifest:
    """Write a folder with a manifest, and files that hold what they hold by `seed` only; return the manifest."""
    source = random.Random(seed)
    shared = []
    (folder / "modules").mkdir(parents=True)
    for index in range(modules):
        data = source.randbytes(module_bytes)
        cid = str(cid_of_bytes(data))
        path = f"modules/{cid}.wasm"
        (folder / path).write_bytes(data)
        kind = "environment" if index == 0 else "shared"
        shared.append(SharedModule(cid=cid, path=path, bytes=len(data), kind=kind, users=[]))
    programs = []
    for index in range(apps):
        data = source.randbytes(1000)
        name = f"app-{index}"
        (folder / f"{name}.wasm").write_bytes(data)
        cid = str(cid_of_bytes(data))
        programs.append(
            App(
                name=name,
                blob=f"{name}.wasm",
                blob_cid=cid,
                blob_bytes=5000,
                path=f"{name}.wasm",
                cid=cid,
                bytes=len(data),
                closure_bytes=len(data) + modules * module_bytes,
                imports=sorted(module.cid for module in shared),
                verified=True,
            )
        )
    manifest = Manifest(
        apps=programs,
        modules=sorted(shared, key=lambda module: module.cid),
        totals=Totals(blob_bytes=5000 * apps, split_bytes=1000 * apps + modules * module_bytes),
    )
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    return manifest
