"""Modules, and those that provide what they import."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bacnode.fetch.fetched import Fetched
from bacpack.errors import BacpackError
from bacpack.order import instantiation_order
from bacpack.wasm.interface import Interface


@dataclass(eq=False, slots=True)
class Node:
    """A module in the graph."""

    fetched: Fetched
    interface: Interface
    #: The provider of each import namespace, as it is written in this module. Host modules are not among them.
    providers: dict[str, Node] = field(default_factory=dict)
    #: What keeps this module from being linked.
    problems: list[BacpackError] = field(default_factory=list)
    #: Modules on the longest path from here to a module that imports nothing, this one included.
    height: int = 1

    @property
    def dependencies(self) -> list[Node]:
        """The modules it imports from, each once."""
        return list(dict.fromkeys(self.providers.values()))

    def closure(self) -> list[Node]:
        """This module and all it needs, in the order in which they are instantiated: itself last."""
        return instantiation_order(self, lambda node: node.dependencies)

    @property
    def closure_bytes(self) -> int:
        """Size of this module and of all it needs."""
        return sum(len(node.fetched.data) for node in self.closure())


@dataclass(frozen=True, slots=True)
class Graph:
    """A program's modules in the order in which they are instantiated, the program itself last."""

    root: Node
    nodes: list[Node]

    @property
    def problems(self) -> Iterator[BacpackError]:
        """What keeps the program from running."""
        return (problem for node in self.nodes for problem in node.problems)

    def check(self) -> None:
        """Raise the first problem, if there is one."""
        for problem in self.problems:
            raise problem

    def namespaces(self, provider: Node) -> list[str]:
        """Every namespace under which some module imports from `provider`: one CID can be written in several ways."""
        names = (name for node in self.nodes for name, other in node.providers.items() if other is provider)
        return list(dict.fromkeys(names))
