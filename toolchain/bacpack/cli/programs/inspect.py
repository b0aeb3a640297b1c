"""`bacpack inspect`: imports, exports, and the tree of modules that a program needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.terminal.byte_table import explanation_json, explanation_text, treemap_option, write_treemap
from bacpack.cli.terminal.output import Output, common_options, table
from bacpack.cli.terminal.streams import joined
from bacpack.errors import BacpackError, InputError, UnreachableError
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacnode.programs.description import FolderView, ModuleView, ProgramView
    from bacnode.programs.module_graph import Graph, Node
    from bacnode.programs.open_program import Folder
    from bacpack.split.explain.byte_counts import Explanation

EPILOG = """\b
Examples:
  bacpack inspect out/app.wasm
  bacpack inspect out
  bacpack inspect release.car/app.wasm --json
  bacpack inspect bafybei…

\b
Exit status:
  0    shown, also when modules are missing: they are listed
  1    bytes are not what their CID says
  2    wrong usage or input
  3    REF itself could not be fetched
"""

#: Names of one kind that are written out before the rest is only counted.
_SHOWN_NAMES = 12
#: Programs that are named as users of a module before the rest is only counted.
_SHOWN_USERS = 4


@click.command(epilog=EPILOG)
@click.argument("ref")
@treemap_option
@source_options
@common_options
def command(output: Output, *, ref: str, treemap: Path | None, sources: SourceOptions) -> None:
    """Show the imports, exports and modules of a program, or the programs of a release.

    REF is a .wasm or .car file, a folder, a CID, CID/path, ipfs://… or an http(s) URL. Nothing is run.
    """
    import msgspec

    from bacnode.fetch.limits import LoadLimits
    from bacnode.programs.description import describe_folder, describe_program
    from bacnode.programs.open_program import Program, open_ref
    from bacnode.programs.resolver import resolve
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder

    limits = LoadLimits()
    opened = open_ref(ref, BlockStore(data_folder()), sources.web(), limits)
    if isinstance(opened, Program):
        kinds, users = _known(opened.folder)
        graph = resolve(opened.root, opened.sources.fetch, limits, opened.sources.announce)
        program = describe_program(graph, kinds, users)
        if treemap:
            write_treemap(_explain([graph], kinds, users), treemap, graph.root.fetched.name)
        output.result({"ref": ref, **msgspec.to_builtins(program)}, _program_text(graph, program))
    else:
        kinds, _ = _known(opened)
        graphs = [
            resolve(opened.read(name), opened.sources.fetch, limits, opened.sources.announce)
            for name in opened.list_programs()
        ]
        folder = describe_folder(graphs, kinds)
        explanation = _explain(graphs, kinds, {})
        if treemap:
            write_treemap(explanation, treemap, PurePath(ref).name or ref)
        output.result(
            {"ref": ref, **msgspec.to_builtins(folder), "explain": explanation_json(explanation)},
            "\n\n".join([_folder_text(folder), *filter(None, [explanation_text(explanation)])]),
        )


def _explain(graphs: Sequence[Graph], kinds: Mapping[str, str], users: Mapping[str, list[str]]) -> Explanation:
    """Say where the bytes of programs went, and of the modules that they need; `users` are known beyond those."""
    from bacpack.split.explain.byte_counts import Explanation, module_bytes, program_bytes, sum_by_kind

    programs = []
    modules: dict[str, Node] = {}
    users_found: dict[str, list[str]] = {}
    for graph in graphs:
        program = graph.root.fetched
        for node in graph.nodes[:-1]:
            modules[node.fetched.identity] = node
            users_found.setdefault(node.fetched.identity, []).append(program.name)
        needs = sum_by_kind((kinds.get(node.fetched.identity), len(node.fetched.data)) for node in graph.nodes[:-1])
        programs.append(program_bytes(program.name, program.data, needs))
    found = [
        module_bytes(identity, kinds.get(identity), node.fetched.data, users.get(identity) or users_found[identity])
        for identity, node in sorted(modules.items())
    ]
    return Explanation(apps=programs, modules=found)


def _known(folder: Folder | None) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return what the manifest beside a program says of each module, by CID: its kind, and its users."""
    if folder is None:
        return {}, {}
    from bacpack.manifest import MANIFEST_NAME, decode_manifest

    try:
        found = folder.read(MANIFEST_NAME)
    except (InputError, UnreachableError):
        # A program needs no manifest, so that none can be read is no error.
        return {}, {}
    modules = decode_manifest(found.data, found.fetched_from).modules
    return {module.cid: module.kind for module in modules}, {module.cid: module.users for module in modules}


def _program_text(graph: Graph, view: ProgramView) -> str:
    program = view.program
    lines = [
        f"{program.name}  {program.cid or program.url}",
        f"{human_bytes(program.bytes)}, {human_bytes(program.closure_bytes)} with all it needs",
        "",
        *_names("exports", [(entry.kind, entry.name) for entry in view.exports]),
    ]
    for host in view.host:
        lines += _names(f"imports from {host}", [(e.kind, e.name) for e in view.imports if e.namespace == host])
    tree = _tree(graph.root, dict(zip(graph.nodes[:-1], view.modules, strict=True)))
    return joined([*lines, "", *tree] if len(tree) > 1 else lines)


def _names(title: str, entries: list[tuple[str, str]]) -> list[str]:
    """List entries a line for each kind, such as `exports 2 functions: _start, add`."""
    by_kind: dict[str, list[str]] = {}
    for kind, name in entries:
        by_kind.setdefault(kind, []).append(name or '""')
    lines = []
    for kind, names in by_kind.items():
        plural = kind if len(names) == 1 else "memories" if kind == "memory" else f"{kind}s"
        shown = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        lines.append(f"{title}: {len(names)} {plural}: {shown}")
    return lines


def _tree(root: Node, views: dict[Node, ModuleView]) -> list[str]:
    """Draw what a program needs; a module that was drawn with its own needs above is only named."""
    lines = [root.fetched.name]
    drawn: set[Node] = set()

    def draw(node: Node, indent: str) -> None:
        drawn.add(node)
        branches: list[Node | BacpackError] = [*node.dependencies, *node.problems]
        for branch in branches:
            last = branch is branches[-1]
            elbow, below = ("└── ", "    ") if last else ("├── ", "│   ")
            if isinstance(branch, BacpackError):
                lines.append(f"{indent}{elbow}missing: {branch.message.rpartition(' (needed by')[0]}")
                continue
            seen = branch in drawn and bool(branch.dependencies)
            lines.append(f"{indent}{elbow}{_module_line(branch, views)}{'  (see above)' if seen else ''}")
            if not seen:
                draw(branch, indent + below)

    draw(root, "")
    return lines


def _module_line(node: Node, views: dict[Node, ModuleView]) -> str:
    view = views[node]
    notes = [human_bytes(view.bytes), *filter(None, [view.kind])]
    if view.closure_bytes != view.bytes:
        notes.insert(1, f"{human_bytes(view.closure_bytes)} with all it needs")
    if view.users is not None:
        notes.append(f"used by {len(view.users)} program{'' if len(view.users) == 1 else 's'}")
    return f"{node.fetched.name}  {', '.join(notes)}"


def _folder_text(view: FolderView) -> str:
    required = {app.name: str(sum(app.name in (module.users or ()) for module in view.modules)) for app in view.apps}
    apps = [["PROGRAM", "BYTES", "WITH ALL IT NEEDS", "MODULES", "CID"]]
    apps += [
        [app.name, human_bytes(app.bytes), human_bytes(app.closure_bytes), required[app.name], str(app.cid)]
        for app in view.apps
    ]
    modules = [["MODULE", "KIND", "BYTES", "USERS"]]
    modules += [
        [str(module.cid or module.url), module.kind or "", human_bytes(module.bytes), _users(module.users or [])]
        for module in view.modules
    ]
    sections = [table(apps, right=frozenset((1, 2, 3)))]
    if view.modules:
        sections.append(table(modules, right=frozenset((2,))))
    if view.missing:
        sections.append(joined(f"missing: {problem.message}" for problem in view.missing))
    return "\n\n".join(sections)


def _users(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(names[:_SHOWN_USERS])}{', …' if len(names) > _SHOWN_USERS else ''}"
