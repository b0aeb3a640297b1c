"""A program that is ready to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

import msgspec

from bacnode.runtime.call_trace import Place
from bacpack.content.cid.cid import Cid
from bacpack.content.unixfs.reader import read_bytes
from bacpack.errors import BacpackError
from bacpack.wasm import FuncType


class PlannedModule(msgspec.Struct, frozen=True, kw_only=True):
    """A module of a program that is compiled."""

    #: Of its bytes, also where it came from a URL: the cache goes by it.
    cid: str
    url: str | None
    name: str
    bytes: int
    namespaces: list[str]
    initializes: bool
    #: Whether it imports from WASI as it was before preview 1.
    preview0: bool = False
    #: Ranges of offsets at which it traps because it was refused memory.
    growths: list[tuple[int, int]]
    #: As in the run report.
    source: str
    fetched_from: str
    #: Others that gave some of its blocks.
    also_from: list[str] = []
    fetch_ms: float
    verified: bool
    compile_ms: float
    compiled_cached: bool

    def refused_growth_at(self, offset: int) -> bool:
        """Whether the code at an offset traps because it was refused memory, and for nothing else."""
        return any(first <= offset <= last for first, last in self.growths)


class PlannedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The function to call; `params` and `results` are the binary codes of their types, None for a type unknown."""

    name: str
    params: list[bytes] | None
    results: list[bytes] | None

    @property
    def type(self) -> FuncType | None:
        """The type of the function."""
        if self.params is None or self.results is None:
            return None
        return FuncType(tuple(self.params), tuple(self.results))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A program that is ready to be run: its modules, providers first, the program last."""

    modules: list[PlannedModule]
    entry: PlannedEntry
    #: Memories that its modules define: each may reach the limit.
    memories: int
    #: Tables that its modules define, and the entries that the largest has from the start.
    tables: int
    table_elements: int
    #: Whether it means the same for ever, since only CIDs led to it.
    lasting: bool


class HasBlocks(Protocol):
    """What gives blocks by CID."""

    def get(self, cid: Cid) -> bytes:
        """Return a block; raises `BacpackError`."""


def places_in(store: HasBlocks, modules: Iterable[tuple[str, str]]) -> Iterator[Place]:
    """Yield the modules of a plan, given by CID and name, that are in a store; the program, which is last, first."""
    for cid, name in reversed(list(modules)):
        with suppress(BacpackError):
            yield Place(cid, name, read_bytes(store.get, Cid.parse(cid)))


def later(plan: Plan, folder: str) -> Plan:
    """Return a plan as it is for who uses it again: nothing was fetched or compiled for that."""
    modules = [
        msgspec.structs.replace(
            module,
            source="store" if module.url is None else module.source,
            fetched_from=folder if module.url is None else module.fetched_from,
            also_from=[] if module.url is None else module.also_from,
            fetch_ms=0.0,
            compile_ms=0.0,
            compiled_cached=True,
        )
        for module in plan.modules
    ]
    return msgspec.structs.replace(plan, modules=modules)
