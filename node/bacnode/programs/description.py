"""Describing programs without running them: what they import, export and need, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from bacnode.fetch.fetched import SourceKind
from bacnode.programs.module_graph import Graph, Node
from bacpack.content.cid.import_namespace import HOST_MODULES
from bacpack.errors import BacpackError
from bacpack.wasm.interface import Item


class ImportView(msgspec.Struct, frozen=True, kw_only=True):
    """One import; `type` is text for people."""

    namespace: str
    name: str
    kind: str
    type: str


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """One export."""

    name: str
    kind: str
    type: str


class ModuleView(msgspec.Struct, frozen=True, kw_only=True):
    """One module; `cid`, or `url` for what came from one. Sizes are in bytes."""

    cid: str | None
    url: str | None
    name: str
    bytes: int
    #: Size of the module and of all that it needs.
    closure_bytes: int
    #: CID or URL of each module it imports from.
    imports: list[str]
    #: `environment`, `shared` or `data`, where a manifest says so.
    kind: str | None
    #: Names of the programs that need it, sorted; None where that is not known.
    users: list[str] | None
    source: SourceKind
    fetched_from: str
    verified: bool


class ProblemView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that keeps a program from running, such as a module that is missing."""

    code: str
    message: str
    #: Names of the modules that lead to it, the program first.
    needed_by: list[str]


class ProgramView(msgspec.Struct, frozen=True, kw_only=True):
    """One program with all that it needs."""

    program: ModuleView
    imports: list[ImportView]
    exports: list[ExportView]
    #: Modules of the host that it or its modules import from.
    host: list[str]
    #: All modules that it needs, those that need nothing first.
    modules: list[ModuleView]
    missing: list[ProblemView]


class FolderView(msgspec.Struct, frozen=True, kw_only=True):
    """All programs of a folder, and the modules that they share."""

    apps: list[ModuleView]
    modules: list[ModuleView]
    missing: list[ProblemView]


def describe_program(graph: Graph, kinds: Mapping[str, str], users: Mapping[str, list[str]]) -> ProgramView:
    """Describe one program; `kinds` and `users` say what is known of each module, by CID."""
    interface = graph.root.interface
    return ProgramView(
        program=_module_view(graph.root),
        imports=[
            ImportView(namespace=entry.namespace, name=entry.name, kind=_kind(entry.item), type=entry.item.type_text)
            for entry in interface.imports
        ],
        exports=[
            ExportView(name=name, kind=_kind(item), type=item.type_text) for name, item in interface.exports.items()
        ],
        host=[name for name in HOST_MODULES if any(name in node.interface.namespaces for node in graph.nodes)],
        modules=[_module_view(node, kinds, users) for node in graph.nodes[:-1]],
        missing=[_problem_view(problem) for problem in graph.problems],
    )


def describe_folder(graphs: Iterable[Graph], kinds: Mapping[str, str]) -> FolderView:
    """Describe all programs of a folder; `kinds` says what kind each module is, by CID, where that is known."""
    apps: list[ModuleView] = []
    nodes: dict[str, Node] = {}
    users: dict[str, list[str]] = {}
    missing: list[ProblemView] = []
    for graph in graphs:
        apps.append(_module_view(graph.root))
        missing += [_problem_view(problem) for problem in graph.problems]
        for node in graph.nodes[:-1]:
            nodes.setdefault(node.fetched.identity, node)
            users.setdefault(node.fetched.identity, []).append(graph.root.fetched.name)
    modules = [_module_view(nodes[identity], kinds, users) for identity in sorted(nodes)]
    return FolderView(apps=apps, modules=modules, missing=missing)


def _module_view(
    node: Node, kinds: Mapping[str, str] | None = None, users: Mapping[str, list[str]] | None = None
) -> ModuleView:
    fetched = node.fetched
    names = (users or {}).get(fetched.identity)
    return ModuleView(
        cid=None if fetched.cid is None else str(fetched.cid),
        url=fetched.url,
        name=fetched.name,
        bytes=len(fetched.data),
        closure_bytes=node.closure_bytes,
        imports=[dependency.fetched.identity for dependency in node.dependencies],
        kind=(kinds or {}).get(fetched.identity),
        users=None if names is None else sorted(names),
        source=fetched.source,
        fetched_from=fetched.fetched_from,
        verified=fetched.verified,
    )


def _problem_view(problem: BacpackError) -> ProblemView:
    return ProblemView(code=problem.code, message=problem.message, needed_by=problem.details["needed_by"])


def _kind(item: Item) -> str:
    return item.kind.name.lower()
