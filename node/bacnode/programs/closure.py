"""What a program needs: every module with its size, and which of them cannot be had."""

from __future__ import annotations

from dataclasses import dataclass

from bacnode.fetch.fetched import Fetched
from bacnode.fetch.limits import LoadLimits
from bacnode.fetch.session import Web
from bacnode.fetch.stored_sources import keep_one
from bacnode.programs.module_graph import Graph
from bacnode.programs.open_program import open_program
from bacnode.programs.resolver import resolve
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore


@dataclass(frozen=True, slots=True)
class RequiredModule:
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
    modules: tuple[RequiredModule, ...]
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

    Modules that are not available are listed; anything else that is wrong is raised, as `open_program` and
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
    modules = tuple(_required(node.fetched) for node in graph.nodes)
    return Closure(ref, root.name, target, modules, tuple(missing), graph)


def keep(graph: Graph, store: BlockStore) -> list[Cid]:
    """Put into `store` what of a program is not in it; return the CIDs of all modules that it then holds."""
    return [cid for node in graph.nodes if (cid := keep_one(node.fetched, store)) is not None]


def _required(fetched: Fetched) -> RequiredModule:
    cid = None if fetched.cid is None else str(fetched.cid.to_v1())
    return RequiredModule(cid, fetched.url, fetched.name, len(fetched.data))
