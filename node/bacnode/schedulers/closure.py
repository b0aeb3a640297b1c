"""What a program needs: every module with its size, and which of them cannot be had."""

from __future__ import annotations

import io
from dataclasses import dataclass

from bacnode.limits import LoadLimits
from bacnode.programs import open_program
from bacnode.resolver import Fetched, Graph, resolve
from bacnode.web import Web
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore
from bacpack.content.unixfs_build import build_file
from bacpack.wasm.interface import Interface


@dataclass(frozen=True, slots=True)
class Needed:
    """One module: its CID, or the URL that it comes from, and its size."""

    cid: str | None
    url: str | None
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Closure:
    """A program with all that it needs."""

    #: What was asked for, and what names it to another machine.
    ref: str
    name: str
    target: str
    #: Providers before their users, the program last.
    modules: tuple[Needed, ...]
    #: CIDs of modules that nobody who was asked has: they may be proprietary to some node.
    missing: tuple[str, ...]
    graph: Graph

    @property
    def bytes(self) -> int:
        """Size of all modules together."""
        return sum(module.bytes for module in self.modules)

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each module that has a CID."""
        return {module.cid: module.bytes for module in self.modules if module.cid is not None}


def closure_of(ref: str, store: BlockStore, web: Web, limits: LoadLimits | None = None) -> Closure:
    """Return the closure of the program that `ref` names.

    Modules that are not to be had are listed; anything else that is wrong is raised, as `open_program` and
    `Graph.check` do.
    """
    limits = limits or LoadLimits()
    program = open_program(ref, store, web, limits)
    graph = resolve(program.root, program.sources.fetch, limits, program.sources.announce)
    missing: dict[str, None] = {}
    for problem in graph.problems:
        cid = problem.details.get("cid")
        if problem.code != "module-not-found" or not isinstance(cid, str):
            raise problem
        missing[str(Cid.parse(cid).to_v1())] = None
    root = graph.root.fetched
    target = ref if root.cid is None else str(root.cid.to_v1())
    modules = tuple(_needed(node.fetched) for node in graph.nodes)
    return Closure(ref, root.name, target, modules, tuple(missing), graph)


def interfaces(closure: Closure) -> list[tuple[Needed, Interface]]:
    """Return each module of a closure with what it imports and exports."""
    return list(zip(closure.modules, (node.interface for node in closure.graph.nodes), strict=True))


def keep(graph: Graph, store: BlockStore) -> list[Cid]:
    """Put into `store` what of a program is not in it; return the CIDs of all modules that it then holds."""
    return [cid for node in graph.nodes if (cid := keep_one(node.fetched, store)) is not None]


def keep_one(fetched: Fetched, store: BlockStore) -> Cid | None:
    """Put one module into `store`; return its CID, or None if it has none or is a tree of another shape than ours."""
    if fetched.cid is None:
        return None
    cid = fetched.cid.to_v1()
    return cid if fetched.source == "store" or keep_file(cid, fetched.data, store) else None


def keep_file(cid: Cid, data: bytes, store: BlockStore) -> bool:
    """Put a file into `store`; return whether it is there now, and not a tree of another shape than ours."""
    blocks: list[tuple[Cid, bytes]] = []
    if build_file(io.BytesIO(data), lambda block_cid, block: blocks.append((block_cid, block))).cid != cid.to_v1():
        return False
    if not all(store.has(block_cid) for block_cid, _ in blocks):
        with store.batch() as batch:
            for block_cid, block in blocks:
                batch.put(block_cid, block, verified=True)
    return True


def _needed(fetched: Fetched) -> Needed:
    cid = None if fetched.cid is None else str(fetched.cid.to_v1())
    return Needed(cid, fetched.url, fetched.name, len(fetched.data))
