"""A release: a UnixFS directory with every program, every module that they import, and the manifest.

The directory links all of them, which is what makes one pin of its root keep them: the CIDs in a module's import
section are text to IPFS, and no pin follows text.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.file_dag import FileDag
from bacpack.content.unixfs.hash_ahead import read_ahead
from bacpack.content.unixfs.reader import read_bytes
from bacpack.content.unixfs.writer import Built
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import explain_os_error
from bacpack.manifest import MANIFEST_NAME, App, CatalogFile, Manifest, ProvenanceFile, SharedModule, load_manifest
from bacpack.publish.release.required_modules import MODULES, add_required
from bacpack.wasm import Kind, Module, WasmError

#: What a directory will hold: the path of each name's file, or what is in the directory of that name.
Tree: TypeAlias = "dict[str, str | Tree]"
#: The same with files that were added to the DAG.
BuiltTree: TypeAlias = "dict[str, Built | BuiltTree]"

#: What a manifest names.
_Item: TypeAlias = App | SharedModule | CatalogFile | ProvenanceFile

_SUFFIX = ".wasm"


@dataclass(frozen=True, slots=True)
class Release:
    """A release that was computed, and can be read block by block. Nothing of it is written anywhere yet."""

    #: What to call it where it is pinned: the name of the folder or of the first file.
    name: str
    root: Cid
    #: CID of each program, by name.
    apps: dict[str, Cid]
    #: CID of each file, by path from the root.
    files: dict[str, Cid]
    #: Paths on disk that are not part of it: hidden files, and what a manifest does not name.
    left_out: tuple[str, ...]
    dag: FileDag
    #: Size in bytes of each block, once each, in the order of `blocks`.
    sizes: dict[Cid, int]

    def blocks(self) -> Iterator[tuple[Cid, bytes]]:
        """Yield every block once, in the order of a CAR file: parents first, links left to right.

        Raises `InputError` (`changed-meanwhile`) for a file that was changed since.
        """
        return read_ahead((cid, self.dag.get(cid)) for cid in self.sizes)


def first_program(release: Release) -> Cid | None:
    """The first program of a release that can be run as it is: a module that exports a function `_start`."""
    for cid in release.apps.values():
        try:
            exported = Module.parse(read_bytes(release.dag.get, cid)).exports
        except WasmError:
            continue
        if any(entry.name == "_start" and entry.kind == Kind.FUNCTION for entry in exported):
            return cid
    return None


def plan_release(paths: Sequence[Path], store: BlockStore, on_bytes: Callable[[int], object] | None = None) -> Release:
    """Compute the release of one folder, or of files and folders by their names.

    A folder with a manifest is checked against it, and holds exactly what it names. With a program that is named as a
    file come the modules it imports, from beside it or from `store`. Raises `InputError` for what cannot be read or
    named, `CheckFailedError` (`cid-mismatch`, `missing-file`, `missing-module`) for a folder that is not what its
    manifest says, and for modules that are not available. `on_bytes` is told the size of each piece of a file that was
    read.
    """
    left_out: list[str] = []
    dag = FileDag(on_bytes)
    files: dict[str, Built] = {}
    manifests: dict[str, Manifest] = {}
    programs: dict[str, Path] = {}
    if len(paths) == 1 and paths[0].is_dir():
        tree = _tree_of(paths[0], "", manifests, left_out)
    else:
        tree = {}
        for path in paths:
            name = _own_name(path)
            if name in tree:
                raise _duplicate_name(name)
            if path.is_dir():
                tree[name] = _tree_of(path, f"{name}/", manifests, left_out)
                continue
            tree[name] = _regular_file(path)
            if name.endswith(_SUFFIX):
                programs[name] = path
    built = _add_files(dag, tree, "", files)
    _add_modules(dag, built, programs, files, store)
    root = _add_directories(dag, built).cid
    for prefix, manifest in manifests.items():
        _check_against(manifest, prefix, files)
    return Release(
        name=_own_name(paths[0]).removesuffix(_SUFFIX),
        root=root,
        apps=_apps(tree, manifests, files),
        files={path: built.cid for path, built in files.items()},
        left_out=tuple(left_out),
        dag=dag,
        sizes=dict(dag.blocks(root)),
    )


def _own_name(path: Path) -> str:
    """Return the name of `path` itself, also where it is `.` or ends in `..`, but not of what it is a link to."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def _tree_of(folder: Path, prefix: str, manifests: dict[str, Manifest], left_out: list[str]) -> Tree:
    """Return what of `folder` belongs to the release, at `prefix` in it, by its manifest if it has one."""
    if not (folder / MANIFEST_NAME).is_file():
        return _scan(folder, left_out)
    manifest = load_manifest(folder)
    if manifest.schema != 1:
        raise _bad_manifest(folder, f"its schema is {manifest.schema}; this bacpack knows 1", "update bacpack")
    manifests[prefix] = manifest
    tree: Tree = {MANIFEST_NAME: str(folder / MANIFEST_NAME)}
    for item in _items(manifest):
        _place(tree, item, folder)
    named = {prefix + item.path for item in _items(manifest)} | {prefix + MANIFEST_NAME}
    left_out.extend(str(folder / path) for path in _paths(_scan(folder, left_out)) if prefix + path not in named)
    return tree


def _items(manifest: Manifest) -> list[_Item]:
    return [*manifest.apps, *manifest.modules, *manifest.catalog, *manifest.provenance]


def _place(tree: Tree, item: _Item, folder: Path) -> None:
    path = PurePosixPath(item.path)
    if path.is_absolute() or not path.parts or ".." in path.parts or str(path) != item.path:
        raise _bad_manifest(folder, f"`{item.path}` is no plain path inside the folder", "split the programs again")
    inside = tree
    for name in path.parts[:-1]:
        below = inside.setdefault(name, {})
        if isinstance(below, str):
            raise _bad_manifest(folder, f"`{item.path}` is inside a file", "split the programs again")
        inside = below
    if path.name in inside:
        raise _bad_manifest(folder, f"`{item.path}` is named twice", "split the programs again")
    file = folder / path
    if not file.is_file():
        raise CheckFailedError(
            "missing-file",
            f"`{file}` is missing; the manifest names it",
            hint="split the programs again into an empty folder",
            details={"path": str(file), "expected": item.cid},
        )
    inside[path.name] = _regular_file(file)


def _scan(folder: Path, left_out: list[str]) -> Tree:
    """Return everything in `folder` but what is hidden, which `ipfs add` leaves out as well."""
    try:
        with os.scandir(folder) as found:
            children = sorted(found, key=lambda child: child.name)
    except OSError as error:
        raise explain_os_error(error, f"read the folder `{folder}`") from error
    tree: Tree = {}
    above = "" if folder == Path() else str(folder)
    for child in children:
        path = os.path.join(above, child.name)  # noqa: PTH118 - a release may have many files, and this is much quicker
        if child.name.startswith("."):
            left_out.append(path)
        elif child.is_dir(follow_symlinks=False):
            tree[child.name] = _scan(folder / child.name, left_out)
        else:
            tree[child.name] = path if child.is_file(follow_symlinks=False) else _regular_file(folder / child.name)
    return tree


def _paths(tree: Tree) -> Iterator[str]:
    for name, below in tree.items():
        if isinstance(below, str):
            yield name
        else:
            yield from (f"{name}/{path}" for path in _paths(below))


def _regular_file(path: Path) -> str:
    """Return `path`, which may be a link to a file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error
    if not stat.S_ISREG(mode):
        raise InputError(
            "not-a-regular-file",
            f"`{path}` is neither a file nor a folder of its own",
            hint="links to folders, pipes, sockets and devices cannot be packed: leave it out or copy it",
            details={"path": str(path)},
        )
    return str(path)


def _add_files(dag: FileDag, tree: Tree, prefix: str, files: dict[str, Built]) -> BuiltTree:
    built: BuiltTree = {}
    for name, below in tree.items():
        if isinstance(below, str):
            built[name] = files[prefix + name] = dag.add_file(below)
        else:
            built[name] = _add_files(dag, below, f"{prefix}{name}/", files)
    return built


def _add_modules(
    dag: FileDag, tree: BuiltTree, programs: dict[str, Path], files: dict[str, Built], store: BlockStore
) -> None:
    """Add the modules that programs named as files import, unless the release has them anyway."""
    present = {file.cid for file in files.values()}
    added: dict[str, Built] = {}
    for name, path in programs.items():
        added |= add_required(path, files[name].cid, present, dag, store)
    if not added:
        return
    folder = tree.setdefault(MODULES, {})
    if isinstance(folder, Built):
        raise _duplicate_name(MODULES)
    folder.update(added)
    files.update({f"{MODULES}/{name}": module for name, module in added.items()})


def _add_directories(dag: FileDag, tree: BuiltTree) -> Built:
    return dag.add_directory(
        {name: below if isinstance(below, Built) else _add_directories(dag, below) for name, below in tree.items()}
    )


def _check_against(manifest: Manifest, prefix: str, files: dict[str, Built]) -> None:
    """Raise `CheckFailedError` unless every file has the CID that the manifest states, and no import is left open."""
    wrong = []
    for item in _items(manifest):
        built = files[prefix + item.path]
        if str(built.cid) != item.cid:
            wrong.append({"path": prefix + item.path, "expected": item.cid, "got": str(built.cid), "bytes": built.size})
    if wrong:
        first = wrong[0]
        more = f" ({len(wrong)} files in all do not)" if len(wrong) > 1 else ""
        raise CheckFailedError(
            "cid-mismatch",
            f"`{first['path']}` does not match the manifest: expected {first['expected']}, got {first['got']}, "
            f"{first['bytes']} bytes{more}",
            hint="the file was changed after the split: split the programs again",
            details={**first, "mismatches": wrong},
        )
    present = {item.cid for item in _items(manifest)}
    for app in manifest.apps:
        absent = sorted(set(app.imports) - present)
        if absent:
            raise CheckFailedError(
                "missing-module",
                f"`{app.name}` imports {absent[0]}, which the manifest does not list",
                hint="split the programs again into an empty folder",
                details={"app": app.name, "missing": absent},
            )


def _apps(tree: Tree, manifests: dict[str, Manifest], files: dict[str, Built]) -> dict[str, Cid]:
    """Return the programs: those that manifests name, and `.wasm` files that stand at the top beside them."""
    apps = {app.name: files[prefix + app.path].cid for prefix, manifest in manifests.items() for app in manifest.apps}
    if "" not in manifests:
        for name, below in tree.items():
            if isinstance(below, str) and name.endswith(_SUFFIX):
                apps[name.removesuffix(_SUFFIX)] = files[name].cid
    return dict(sorted(apps.items()))


def _duplicate_name(name: str) -> InputError:
    return InputError(
        "duplicate-name",
        f"the release would hold two things called `{name}`",
        hint="give each its own name, or put them in folders",
        details={"name": name},
    )


def _bad_manifest(folder: Path, reason: str, hint: str) -> InputError:
    path = folder / MANIFEST_NAME
    return InputError(
        "bad-manifest", f"the manifest at `{path}` cannot be used: {reason}", hint=hint, details={"path": str(path)}
    )
