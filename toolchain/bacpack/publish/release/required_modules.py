"""What a program needs that is published as a file: the modules that it imports by CID belong into the release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bacpack.component.binary import Component, is_component
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, parse_ref
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.file_dag import FileDag
from bacpack.content.unixfs.reader import read_bytes, resolve
from bacpack.content.unixfs.writer import Built
from bacpack.errors import CheckFailedError, InputError
from bacpack.text import count_of
from bacpack.wasm import Module, WasmError

#: Where the modules of a program are, beside it and in a release.
MODULES = "modules"

#: How many CIDs a message names; all are in its details.
_NAMED = 5


def add_required(program: Path, root: Cid, collected: set[Cid], dag: FileDag, store: BlockStore) -> dict[str, Built]:
    """Add to `dag` what `program`, whose CID is `root`, imports by CID and is not `collected`; return it by name.

    Imports are followed through all modules. Each is taken from the `modules` folder beside the program or from the
    store, and noted in `collected`. Raises `CheckFailedError` (`missing-module`) naming those that are in neither.
    """
    folder = program.parent / MODULES
    added: dict[str, Built] = {}
    missing: list[str] = []
    seen: set[CidRef] = set()
    waiting = [root]
    while waiting:
        for ref in _imported(read_bytes(dag.get, waiting.pop())):
            if ref in seen:
                continue
            seen.add(ref)
            cid = ref.cid.to_v1()
            if cid not in collected:
                built = _add_file(folder / f"{cid}.wasm", cid, dag) or _add_stored(cid, dag, store)
                if built is None:
                    missing.append(str(cid))
                    continue
                # A path in the namespace leads into a directory, which is taken along whole.
                added[str(cid) if ref.path else f"{cid}.wasm"] = built
                collected.add(cid)
            waiting.append(resolve(dag.get, cid, ref.path))
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise CheckFailedError(
            "missing-module",
            f"`{program}` needs {count_of(len(missing), 'module')} of which there is no sound copy in `{folder}` or in "
            f"the store: {', '.join(missing[:_NAMED])}{more}",
            hint="publish the folder that it was split into, or get the modules with `bacpack fetch FILE.car`",
            details={"app": program.name.removesuffix(".wasm"), "missing": missing},
        )
    return added


def _imported(data: bytes) -> Iterator[CidRef]:
    """Yield what a module or component imports by CID; nothing for another file, which is published as it is."""
    try:
        if is_component(data):
            namespaces = list(Component.parse(data).imported_modules)
        else:
            namespaces = Module.parse(data).import_namespaces
    except WasmError:
        return
    for namespace in namespaces:
        try:
            ref = parse_ref(namespace)
        except InputError:
            # No reference to content, such as an empty name: `bacpack inspect` says so.
            continue
        if isinstance(ref, CidRef):
            yield ref


def _add_file(path: Path, cid: Cid, dag: FileDag) -> Built | None:
    if not path.is_file():
        return None
    built = dag.add_file(path)
    return built if built.cid == cid else None


def _add_stored(cid: Cid, dag: FileDag, store: BlockStore) -> Built | None:
    try:
        return dag.add_stored(cid, store)
    except MissingBlockError:
        return None
