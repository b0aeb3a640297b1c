"""From a linked program to a plan: its code in the cache, and all that a worker has to know to run it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from bacnode.fetch.source import file_cid
from bacnode.programs.module_graph import Graph, Node
from bacnode.runtime.code_cache import CompileCache, Configuration
from bacnode.runtime.engine import Runtime, entry_point, names_of
from bacnode.runtime.growth_traps import growths
from bacnode.runtime.plan import Plan, PlannedModule
from bacnode.runtime.run_limits import MAX_TABLE_ELEMENTS
from bacpack.content.cid.import_namespace import WASI_UNSTABLE
from bacpack.content.cid.reference import CidRef, parse_ref
from bacpack.errors import InputError
from bacpack.single_flight import OneAtATime
from bacpack.wasm import Module

#: Has the code of a module made, which is known by a CID; returns whether it was there.
Compile: TypeAlias = Callable[[str, Node], bool]


def make_plan(
    ref: str, graph: Graph, invoke: str | None, compile_module: Compile, max_elements: int | None = None
) -> Plan:
    """Return the plan of the program that `ref` led to, whose tables may have so many entries from the start.

    Raises `InputError`, as `Graph.check` and `entry_point` do, and what compiling raises.
    """
    graph.check()
    entry = entry_point(graph.root, invoke)
    parsed = [Module.parse(node.fetched.data) for node in graph.nodes]
    tables = [table.type.limits.minimum for module in parsed for table in module.tables]
    if max_elements is not None and sum(tables) > max_elements:
        raise InputError(
            "memory-limit",
            f"the program's tables have {sum(tables)} entries from the start; {max_elements} is the limit",
            hint="no compiler makes so many",
        )
    return Plan(
        modules=[_planned(graph, node, compile_module) for node in graph.nodes],
        entry=entry,
        memories=sum(len(module.memories) for module in parsed),
        tables=len(tables),
        table_elements=max(tables, default=0),
        lasting=isinstance(parse_ref(ref), CidRef) and all(node.fetched.cid is not None for node in graph.nodes),
    )


class Planner:
    """Makes plans of programs whose code is kept in a cache."""

    def __init__(self, cache: CompileCache, *, all_features: bool) -> None:
        self._cache = cache
        self._all_features = all_features
        self._compiling = OneAtATime()

    def plan(self, ref: str, graph: Graph, invoke: str | None, *, fueled: bool) -> Plan:
        """Return the plan of the program that `ref` led to; raises as `make_plan` does."""
        return make_plan(
            ref, graph, invoke, lambda cid, node: self._compile(cid, node, fueled=fueled), MAX_TABLE_ELEMENTS
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


def _planned(graph: Graph, node: Node, compile_module: Compile) -> PlannedModule:
    fetched = node.fetched
    # The code of what came from a URL is kept under the CID that its bytes have.
    cid = str((fetched.cid or file_cid(fetched.data)).to_v1())
    started = time.perf_counter()
    cached = compile_module(cid, node)
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
