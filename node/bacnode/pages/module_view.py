"""What pages tell of modules, kept for a moment: gathering it reads much, and a page that is live asks often."""

from __future__ import annotations

import asyncio
import time

from bacnode.api.modules import holdings_of
from bacnode.jobs.inventory import StoredModule
from bacnode.node_state import NodeState
from bacnode.pages.views import ModulesView, modules_view
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.import_namespace import parse_namespace
from bacpack.content.cid.reference import CidRef
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.reader import read_bytes
from bacpack.errors import BacpackError
from bacpack.wasm import Module

#: Seconds for which an answer is told again, and at least how many times as long as it took to gather.
KEPT_SECONDS, KEPT_TIMES = 2.0, 10.0
#: The largest module whose imports are read.
MAX_MODULE_BYTES = 64 << 20
#: Modules whose imports are remembered: they never change.
MAX_REMEMBERED = 10_000
#: Modules that are told of on a page.
MAX_MODULES = 5_000


class CachedModulesView:
    """The modules of one node, as its pages tell of them."""

    def __init__(self, node: NodeState) -> None:
        self._node = node
        self._gathering = asyncio.Lock()
        self._until = 0.0
        self._view: ModulesView | None = None
        self._imports: dict[str, tuple[str, ...]] = {}

    async def view(self) -> ModulesView:
        """Return all modules as they were a moment ago; one request gathers for all that wait."""
        async with self._gathering:
            began = time.monotonic()
            if self._view is None or began >= self._until:
                service = self._node.jobs
                uses = await service.queries.uses()
                self._view = await self._node.in_reader(lambda: self._gather(holdings_of(self._node).report(uses)))
                took = time.monotonic() - began
                self._until = began + max(KEPT_SECONDS, KEPT_TIMES * took)
            return self._view

    def _gather(self, modules: list[StoredModule]) -> ModulesView:
        modules = modules[:MAX_MODULES]
        # What a proprietary module holds is told nowhere, so neither is what it imports.
        imports = {module.cid: self._imports_of(module.cid) for module in modules if not module.proprietary}
        return modules_view(modules, imports)

    def _imports_of(self, cid: str) -> tuple[str, ...]:
        if cid not in self._imports:
            try:
                found = imported_modules(self._node.store, Cid.parse(cid))
            except BacpackError:
                # Damaged, gone meanwhile, or none at all.
                return ()
            if len(self._imports) >= MAX_REMEMBERED:
                self._imports.clear()
            self._imports[cid] = found
        return self._imports[cid]


def imported_modules(store: BlockStore, cid: Cid) -> tuple[str, ...]:
    """Return the CIDs, as text, of the modules that one imports directly; raises `BacpackError`."""
    found = []
    for namespace in Module.parse(read_bytes(store.get, cid, MAX_MODULE_BYTES)).import_namespaces:
        try:
            ref = parse_namespace(namespace)
        except BacpackError:
            continue
        if isinstance(ref, CidRef) and not ref.path:
            found.append(str(ref.cid.to_v1()))
    return tuple(sorted(set(found)))
