"""From a linked program to a plan: its code in the cache, and all that a worker has to know to run it."""

from __future__ import annotations

import time

from bacnode.fetch.source import file_cid
from bacnode.programs.module_graph import Graph, Node
from bacnode.runtime.code_cache import CompileCache, Configuration
from bacnode.runtime.engine import Entry, Runtime, entry_point, names_of
from bacnode.runtime.growth_traps import growths
from bacnode.runtime.plan import Plan, PlannedEntry, PlannedModule
from bacnode.runtime.run_limits import MAX_TABLE_ELEMENTS
from bacpack.content.cid.import_namespace import WASI_UNSTABLE
from bacpack.content.cid.reference import CidRef, parse_ref
from bacpack.errors import InputError
from bacpack.single_flight import OneAtATime
from bacpack.wasm import FuncType, Module


class Planner:
    """Makes plans, and has what they need compiled."""

    def __init__(self, cache: CompileCache, *, all_features: bool) -> None:
        self._cache = cache
        self._all_features = all_features
        self._compiling = OneAtATime()

    def plan(self, ref: str, graph: Graph, invoke: str | None, *, fueled: bool) -> Plan:
        """Return the plan of the program that `ref` led to; raises `InputError`, as `Graph.check` does."""
        graph.check()
        entry = entry_point(graph.root, invoke)
        parsed = [Module.parse(node.fetched.data) for node in graph.nodes]
        tables = [table.type.limits.minimum for module in parsed for table in module.tables]
        if sum(tables) > MAX_TABLE_ELEMENTS:
            raise InputError(
                "memory-limit",
                f"the program's tables have {sum(tables)} entries from the start; {MAX_TABLE_ELEMENTS} is the limit",
                hint="no compiler makes so many",
            )
        return Plan(
            modules=[self._module(graph, node, fueled=fueled) for node in graph.nodes],
            entry=_planned(entry),
            memories=sum(len(module.memories) for module in parsed),
            tables=len(tables),
            table_elements=max(tables, default=0),
            lasting=isinstance(parse_ref(ref), CidRef) and all(node.fetched.cid is not None for node in graph.nodes),
        )

    def _module(self, graph: Graph, node: Node, *, fueled: bool) -> PlannedModule:
        fetched = node.fetched
        # The code of what came from a URL is kept under the CID that its bytes have.
        cid = str((fetched.cid or file_cid(fetched.data)).to_v1())
        started = time.perf_counter()
        cached = self._compile(cid, node, fueled=fueled)
        return PlannedModule(
            cid=cid,
            url=fetched.url,
            name=fetched.name,
            bytes=len(fetched.data),
            namespaces=names_of(graph, node),
            initializes=node.interface.initializes,
            preview0=WASI_UNSTABLE in node.interface.namespaces,
            growths=list(growths(fetched.data)),
            source=fetched.source,
            fetched_from=fetched.fetched_from,
            also_from=list(fetched.also_from),
            fetch_ms=round(fetched.fetch_ms, 3),
            verified=fetched.verified,
            compile_ms=round((time.perf_counter() - started) * 1000, 3),
            compiled_cached=cached,
        )

    def _compile(self, cid: str, node: Node, *, fueled: bool) -> bool:
        """Have the code of a module in the cache; return whether it was there."""
        configuration = Configuration(interruptible=True, fueled=fueled, all_features=self._all_features)
        if self._cache.has(cid, configuration):
            return True

        def compile_it() -> bool:
            # An engine for each, so that nothing of it stays in memory.
            runtime = Runtime(interruptible=True, fueled=fueled, all_features=self._all_features)
            compiled = runtime.compile(node)
            if not self._cache.put(cid, configuration, compiled.module):
                raise InputError(
                    "disk-full", "compiled modules cannot be kept", hint="free some space in the node's store"
                )
            return False

        return self._compiling.do(f"{cid} {fueled}", compile_it)


def _planned(entry: Entry) -> PlannedEntry:
    if not isinstance(entry.type, FuncType):
        return PlannedEntry(name=entry.name, params=None, results=None)
    return PlannedEntry(name=entry.name, params=list(entry.type.params), results=list(entry.type.results))
