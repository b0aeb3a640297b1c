"""Proving a folder that `bacpack split` wrote against the blobs that it was split from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import read_file
from bacpack.manifest import App, Manifest, load_manifest
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.equivalence.components import prove_program
from bacpack.proof.equivalence.prover import Prover


def prove_folder(
    folder: Path,
    blobs: Sequence[Path],
    show: Callable[[str], None] = lambda state: None,
    linked: Mapping[str, str] | None = None,
    why_invalid: Callable[[bytes], str] = lambda module: "",
) -> list[str]:
    """Prove the apps in `folder` that were split from `blobs`; return their names, sorted.

    Apps are found by the CID of each blob. `show` is told how far the work is; `linked` has the CIDs of modules that
    blobs import by name. `why_invalid` says why a module is not valid, empty if it is: the proof is about valid ones.
    Raises `CheckFailedError` for a blob of no app here, for one that differs, and for modules that are not valid;
    `InputError` for a blob that is not.
    """
    manifest = load_manifest(folder)

    def read(path: str) -> bytes:
        data = read_file(folder / path)
        if reason := why_invalid(data):
            raise not_equivalent(f"`{path}` is not valid WebAssembly: {reason}", path=path)
        return data

    prover = Prover({module.cid: read(module.path) for module in manifest.modules}, linked)
    proved: set[str] = set()
    for done, path in enumerate(blobs):
        show(f"{done} of {len(blobs)} programs proved")
        blob = read_file(path)
        if reason := why_invalid(blob):
            raise InputError("invalid-blob", f"`{path}` is not valid WebAssembly: {reason}", hint="build it again")
        cid = str(cid_of_bytes(blob))
        apps = [app for app in manifest.apps if app.blob_cid == cid]
        if not apps:
            raise not_equivalent(f"no program in `{folder}` was split from `{path}`", path=str(path), cid=cid)
        for app in apps:
            _refuse_other_names(manifest, app)
            try:
                prove_program(prover, blob, read(app.path))
            except CheckFailedError as error:
                message = f"`{app.name}` in `{folder}` is not `{path}`: {error.message}"
                details = {"app": app.name, **error.details}
                raise CheckFailedError(error.code, message, hint=error.hint, details=details) from error
            proved.add(app.name)
    return sorted(proved)


def _refuse_other_names(manifest: Manifest, app: App) -> None:
    """Raise unless the file that people take for `app` is the one that the manifest says, on any system."""
    if app.path != f"{app.name}.wasm":
        raise not_equivalent(f"the manifest says that `{app.name}` is `{app.path}`, not `{app.name}.wasm`")
    if others := [other.name for other in manifest.apps if other is not app and other.name.lower() == app.name.lower()]:
        raise not_equivalent(f"the manifest has two programs of one name: `{app.name}` and `{others[0]}`")
