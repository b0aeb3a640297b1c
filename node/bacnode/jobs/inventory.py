"""Which modules a node holds, where they came from, and how much they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from bacnode.jobs.database import Use
from bacnode.runtime.code_cache import CompileCache, Configuration
from bacnode.stores.proprietary import Proprietary
from bacpack.content.cid.cid import RAW, Cid
from bacpack.content.ipld.links import links_of
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.content.store.origins import Origin, Provenance
from bacpack.content.store.pins import Pins
from bacpack.content.unixfs.reader import read_bytes
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError
from bacpack.manifest import MANIFEST_NAME, Manifest

#: A manifest that is read for what it says of modules.
_MAX_MANIFEST_BYTES = 8 << 20
#: Blocks below pins that are looked at to tell what is pinned.
_MAX_WALKED = 1_000_000


class StoredModule(msgspec.Struct, kw_only=True):
    """A module that the node holds."""

    cid: str
    names: list[str]
    #: Null for one that jobs may use and nobody may have.
    bytes: int
    #: `environment`, `shared` or `data` as a manifest says, `app` for a program; null where nothing says it.
    kind: str | None
    #: In a word where it came from: `publish`, `upload`, `car`, `peer`, `url`, `file`; null where nothing says it.
    origin: str | None
    obtained_from: str | None
    obtained_at: str | None
    #: Others that some of its blocks came from.
    also_from: list[str]
    verified: bool
    pinned: bool
    proprietary: bool
    compiled: bool
    last_used: str | None
    uses: int


@dataclass(slots=True)
class _Known:
    """What was told of a module, from several places."""

    names: set[str]
    kind: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one report is made of."""

    store: BlockStore
    pins: Pins
    provenance: Provenance
    proprietary: Proprietary
    cache: CompileCache
    configuration: Configuration
    peers: frozenset[str]

    def report(self, uses: dict[str, Use]) -> list[StoredModule]:
        """Return every module that the store holds, sorted by CID."""
        known = self._known(uses)
        pinned = self._pinned()
        found = []
        for text in sorted({*known, *self.proprietary.modules}):
            cid = Cid.parse(text)
            is_proprietary = text in self.proprietary.modules
            size = self._size(cid, proprietary=is_proprietary, use=uses.get(text))
            if size is None:
                continue
            facts = known.get(text, _Known(set()))
            use = uses.get(text)
            names = facts.names | ({self.proprietary.modules[text]} if is_proprietary else set())
            found.append(
                StoredModule(
                    cid=text,
                    names=sorted(names - {""}),
                    bytes=size,
                    kind=facts.kind,
                    origin="file" if is_proprietary and facts.origin is None else self._word(facts.origin),
                    obtained_from=facts.origin.obtained_from if facts.origin else None,
                    obtained_at=facts.origin.obtained_at if facts.origin else None,
                    also_from=self._also_from(cid, facts.origin),
                    # Nothing gets into a store that was not compared with its CID.
                    verified=True,
                    pinned=text in pinned,
                    proprietary=is_proprietary,
                    compiled=self.cache.has(text, self.configuration),
                    last_used=use.last_used if use else None,
                    uses=use.uses if use else 0,
                )
            )
        return found

    def _known(self, uses: dict[str, Use]) -> dict[str, _Known]:
        known: dict[str, _Known] = {cid: _Known({_name(use.name)}) for cid, use in uses.items()}
        manifests: list[Cid] = []
        origins = {str(origin.cid): origin for origin in self.provenance.all()}
        for text, origin in origins.items():
            names = {_name(name) for name in origin.names}
            if any(name.endswith(".wasm") for name in origin.names) or text in known:
                known.setdefault(text, _Known(set())).names |= names
            if any(name.rpartition("/")[2] == MANIFEST_NAME for name in origin.names):
                manifests.append(origin.cid)
        for cid in manifests:
            for text, kind, name in self._listed(cid):
                facts = known.setdefault(text, _Known(set()))
                facts.kind = facts.kind or kind
                facts.names.add(name)
        for text, facts in known.items():
            facts.origin = origins.get(text)
            # A module is also called by its CID, which is no name that says anything.
            facts.names -= {text, f"{text}.wasm"}
        return known

    def _listed(self, cid: Cid) -> Iterator[tuple[str, str, str]]:
        """Yield what a manifest says: CID, kind and name of every program and module."""
        try:
            data = read_bytes(self.store.get, cid, _MAX_MANIFEST_BYTES)
            manifest = decode_json(data, Manifest)
        except (BacpackError, DecodeError):
            return
        for app in manifest.apps:
            yield _canonical(app.cid), "app", app.name
        for module in manifest.modules:
            yield _canonical(module.cid), module.kind, ""

    def _also_from(self, cid: Cid, origin: Origin | None) -> list[str]:
        """Return who gave blocks of a module of several blocks, but for who gave most."""
        if cid.codec == RAW or origin is None:
            return []
        try:
            links = links_of(cid, self.store.get(cid))
        except BacpackError:
            return []
        origins = filter(None, (self.provenance.get(link) for link in dict.fromkeys(links)))
        return sorted({found.obtained_from for found in origins} - {origin.obtained_from})

    def _pinned(self) -> set[str]:
        """Return every block that a pin keeps."""
        pinned: set[str] = set()
        waiting: list[Cid] = []
        for pin in self.pins.all():
            pinned.add(str(pin.cid.to_v1()))
            if pin.mode == "recursive":
                waiting.append(pin.cid)
        while waiting and len(pinned) < _MAX_WALKED:
            cid = waiting.pop()
            if cid.codec == RAW:
                continue
            try:
                links = links_of(cid, self.store.get(cid))
            except BacpackError:
                continue
            for link in links:
                text = str(link.to_v1())
                if text not in pinned:
                    pinned.add(text)
                    waiting.append(link)
        return pinned

    def _size(self, cid: Cid, *, proprietary: bool, use: Use | None) -> int | None:
        """Return the size of a module that is here whole, otherwise None."""
        store = self.proprietary.store if proprietary else self.store
        if cid.codec == RAW:
            return store.size(cid)
        if not store.has(cid):
            return None
        if use is not None:
            return use.bytes
        try:
            found = check_blocks(store, cid)
        except BacpackError:
            return None
        return None if found.missing else found.bytes

    def _word(self, origin: Origin | None) -> str | None:
        if origin is None:
            return None
        source = origin.obtained_from
        if source.rstrip("/") in self.peers:
            return "peer"
        if source.startswith(("http://", "https://")):
            return "url"
        return source.partition(":")[0]


def _name(name: str) -> str:
    return name.rpartition("/")[2]


def _canonical(text: str) -> str:
    try:
        return str(Cid.parse(text).to_v1())
    except BacpackError:
        return text
