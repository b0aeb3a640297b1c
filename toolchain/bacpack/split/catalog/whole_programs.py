"""Programs that an earlier release has already: their remainders and modules are taken over as they are.

So when one program of many has changed, only that one is split, and nothing of the others is new. What is taken over is
proved against its blob like all else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bacpack.content.cid.cid import is_cid
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import BacpackError
from bacpack.manifest import App, ModuleKind
from bacpack.split.abi.environment import environment_cid
from bacpack.split.catalog.catalog import Catalog
from bacpack.split.input.blob import Input
from bacpack.split.input.custom_sections import stripped_size
from bacpack.split.model.records import OutputApp, OutputModule, Split, namespaces
from bacpack.wasm import Module, WasmError


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was found: programs by name, and every module that they need."""

    apps: dict[str, OutputApp]
    modules: dict[str, OutputModule]
    features: dict[str, list[bytes]]


def find_earlier(catalogs: Sequence[Catalog], inputs: Sequence[Input]) -> Earlier:
    """Find the programs that a release of `catalogs` has, with all their modules. Components are not looked for."""
    found = Earlier({}, {}, {})
    blobs: dict[str, str] = {}
    for catalog in catalogs:
        releases = {app.blob_cid: app for app in catalog.apps()}
        if releases and not blobs:
            blobs = {entry.name: str(cid_of_bytes(entry.data)) for entry in inputs}
        kinds = catalog.kinds() if releases else {}
        new: dict[str, OutputModule] = {}
        for entry in inputs:
            known = None if entry.name in found.apps else releases.get(blobs.get(entry.name, ""))
            if known and (app := _take(catalog, entry, known, kinds, new)):
                found.apps[entry.name] = app
        if new:
            features = catalog.features()
            found.features.update((cid, features[cid]) for cid in new if cid in features)
            found.modules.update(new)
    return found


def _take(
    catalog: Catalog, entry: Input, known: App, kinds: dict[str, ModuleKind], modules: dict[str, OutputModule]
) -> OutputApp | None:
    """Take over one program; None if the release does not have it whole."""
    data = catalog.file(known.path)
    if data is None or str(cid_of_bytes(data)) != known.cid:
        return None
    try:
        imports = tuple(name for name in namespaces(data) if is_cid(name))
        closure = dict(_closure(catalog, imports, kinds))
        blob_bytes = stripped_size(Module.parse(entry.data))
    except (BacpackError, WasmError, KeyError):
        return None  # a module is missing, or described nowhere
    if not imports:
        return None  # it stayed as it was: perhaps it need not any longer
    if not set(namespaces(entry.data)) <= set(namespaces(data)):
        return None  # a name was linked to a module, as in a project
    modules |= closure
    return OutputApp(entry.name, entry.data, blob_bytes, data, imports, None)


def _closure(
    catalog: Catalog, imports: Iterable[str], kinds: dict[str, ModuleKind]
) -> Iterator[tuple[str, OutputModule]]:
    """All modules that are needed; raises `BacpackError` when one is not available or not described."""
    seen: set[str] = set()
    pending = list(imports)
    while pending:
        cid = pending.pop()
        if cid not in seen:
            seen.add(cid)
            data = catalog.module(cid)
            lower = tuple(name for name in namespaces(data) if is_cid(name))
            pending += lower
            yield cid, OutputModule(cid, data, kinds[cid], lower, reused=cid != environment_cid())


def with_earlier(split: Split, earlier: Earlier, names: Sequence[str]) -> Split:
    """Put programs that were found and those that were split together, in the order of `names`."""
    if not earlier.apps:
        return split
    apps = earlier.apps | {app.name: app for app in split.apps}
    return Split([apps[name] for name in names], split.modules | earlier.modules, earlier.features | split.features)
