"""From one module to the graph of all that it needs: pure, given a way to fetch.

Every import names its provider, so the graph follows from the bytes alone. Problems are gathered, not raised, so that
`inspect` can show a program that could not run; `Graph.check` raises the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from bacnode.fetch.fetched import Fetched
from bacnode.fetch.limits import LoadLimits
from bacnode.programs.link_errors import import_cycle, on_path, too_deep, too_many
from bacnode.programs.module_graph import Graph, Node
from bacpack.content.cid.import_namespace import HostModule, UnlinkedNamespace, parse_namespace
from bacpack.content.cid.reference import CidRef, UrlRef
from bacpack.errors import BacpackError, restated
from bacpack.linker.import_check import by_namespace, check_host, check_provider, unlinked
from bacpack.verdict import told_apart
from bacpack.wasm.errors import WasmError
from bacpack.wasm.interface import ImportedItem, read_interface

#: Problems that are gathered before the rest of the graph is left alone: nobody reads more, and each takes memory.
_MAX_PROBLEMS = 100

#: Returns the module that a reference names, of at most so many bytes; raises `BacpackError` when there is none.
Fetch: TypeAlias = Callable[[CidRef | UrlRef, int], Fetched]

#: Told which modules will be fetched next, so that they may be on their way meanwhile.
Announce: TypeAlias = Callable[[Sequence[CidRef]], object]


def resolve(root: Fetched, fetch: Fetch, limits: LoadLimits, announce: Announce = lambda refs: None) -> Graph:
    """Follow the imports of `root` to all modules it needs; each is fetched once.

    `announce` is told all that a module imports before the first of it is fetched.

    Raises `InputError` when `root` itself is no module; what is wrong further down stands in the graph.
    """
    return _Resolver(fetch, limits, announce).resolve(root)


class _Resolver:
    def __init__(self, fetch: Fetch, limits: LoadLimits, announce: Announce) -> None:
        self._fetch = fetch
        self._announce = announce
        self._limits = limits
        self._by_identity: dict[str, Node] = {}
        #: What each namespace led to, so that no name is fetched twice; an error as well.
        self._by_namespace: dict[str, Node | BacpackError] = {}
        self._total_bytes = 0
        self._problems = 0

    def resolve(self, root: Fetched) -> Graph:
        try:
            node, _ = self._add(root)
        except BacpackError as error:
            raise restated(error, f"`{root.name}`: {error.message}") from error
        self._visit(node, (node,))
        return Graph(node, node.closure())

    def _visit(self, node: Node, path: tuple[Node, ...]) -> None:
        """Link `node`, the last of `path`, after all that it needs."""
        wanted = by_namespace(node.interface)
        if self._problems < _MAX_PROBLEMS:
            self._announce(list(self._unknown(wanted)))
        for namespace, entries in wanted.items():
            try:
                self._link(node, namespace, entries, path)
            except BacpackError as error:
                node.problems.append(on_path(error, path))
                self._problems += 1
            if self._problems >= _MAX_PROBLEMS:
                break

    def _unknown(self, namespaces: Iterable[str]) -> Iterator[CidRef]:
        """Yield what will be fetched by CID for these namespaces, as far as the limit on modules allows."""
        left = self._limits.modules - len(self._by_identity)
        for namespace in namespaces:
            if namespace in self._by_namespace or left <= 0:
                continue
            try:
                ref = parse_namespace(namespace)
            except BacpackError:
                # Linking says what is wrong with it.
                continue
            if isinstance(ref, CidRef):
                left -= 1
                yield ref

    def _link(self, node: Node, namespace: str, wanted: list[ImportedItem], path: tuple[Node, ...]) -> None:
        parsed = parse_namespace(namespace)
        if isinstance(parsed, UnlinkedNamespace):
            raise unlinked(wanted[0])
        if isinstance(parsed, HostModule):
            check_host(parsed, wanted)
            return
        provider = self._provider(namespace, parsed, path)
        if provider in path:
            raise import_cycle(path[path.index(provider) :])
        if len(path) + provider.height > self._limits.depth:
            raise too_deep(self._limits.depth)
        node.providers[namespace] = provider
        node.height = max(node.height, provider.height + 1)
        check_provider(wanted, provider.fetched.name, provider.interface)

    def _provider(self, namespace: str, ref: CidRef | UrlRef, path: tuple[Node, ...]) -> Node:
        """Return the module that `namespace` names, with all that it needs; `path` leads to its user."""
        known = self._by_namespace.get(namespace)
        if isinstance(known, BacpackError):
            raise known
        if known is not None:
            return known
        try:
            node, is_new = self._load(ref, len(path))
        except BacpackError as error:
            self._by_namespace[namespace] = error
            raise
        # Known before its own imports are followed: otherwise a circle would fetch it again.
        self._by_namespace[namespace] = node
        if is_new:
            self._visit(node, (*path, node))
        return node

    def _load(self, ref: CidRef | UrlRef, depth: int) -> tuple[Node, bool]:
        limits = self._limits
        if depth >= limits.depth:
            raise too_deep(limits.depth)
        if len(self._by_identity) >= limits.modules:
            raise too_many(limits.modules)
        fetched = self._fetch(ref, min(limits.module_bytes, limits.total_bytes - self._total_bytes))
        try:
            return self._add(fetched)
        except BacpackError as error:
            raise restated(error, f"`{fetched.name}` cannot be linked: {error.message}") from error

    def _add(self, fetched: Fetched) -> tuple[Node, bool]:
        """Return the node of a module, and whether it is new."""
        known = self._by_identity.get(fetched.identity)
        if known is not None:
            return known, False
        try:
            interface = read_interface(fetched.data)
        except WasmError as error:
            raise told_apart(error, fetched.data) from error
        node = self._by_identity[fetched.identity] = Node(fetched, interface)
        self._total_bytes += len(fetched.data)
        return node, True
