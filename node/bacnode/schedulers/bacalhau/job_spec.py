"""A job for Bacalhau as it is today: its loader follows import names as paths of the job's files, and fetches nothing.

So the specification lists the whole closure. What the loader (pkg/executor/wasm, v1.9) was found to need:

- a module's Target is exactly the namespace that it is imported by, without a slash before it: an instance goes by the
  path that was used;
- it must be a file there: a CID that is one file, never a folder;
- it looks at imports of functions only: a namespace from which just memories, tables or globals are imported has to be
  in ImportModules, providers before their users, since those are loaded in order;
- `_initialize` of a module is never called, and a memory of its own is all that a module may have;
- a Target may be given once.
"""

from __future__ import annotations

from typing import Any

from bacnode.programs.closure import Closure
from bacnode.programs.module_graph import Graph, Node
from bacnode.schedulers.bacalhau.labels import label_of
from bacnode.schedulers.job_message import JobSpec
from bacpack.content.cid.import_namespace import HostModule, parse_namespace
from bacpack.errors import InputError
from bacpack.wasm import Kind, Module
from bacpack.wasm.interface import Interface

ENTRY = "main.wasm"
#: Bytes of one page of WebAssembly's memory.
_WASI = "wasi_snapshot_preview1"


def bacalhau_job(closure: Closure, spec: JobSpec) -> dict[str, Any]:
    """Return the job, as `bacalhau job run` and the REST API take it.

    Raises `InputError` (`bacalhau-cannot-run`) for a program that Bacalhau's loader cannot link.
    """
    graph = closure.graph
    _check(graph)
    root = graph.root.fetched
    assert root.cid is not None
    inputs = [_input(ENTRY, str(root.cid.to_v1()))]
    inputs += [
        _input(name, str(node.fetched.cid))
        for node in graph.nodes[:-1]
        for name in graph.namespaces(node)
        if node.fetched.cid is not None
    ]
    # A module that only its holder has is there already, in the holder's own IPFS node.
    inputs += [_input(cid, cid) for cid in closure.missing]
    engine: dict[str, Any] = {"EntryModule": ENTRY, "Entrypoint": spec.invoke or "_start"}
    if spec.args:
        engine["Parameters"] = list(spec.args)
    preloaded = _preloaded(graph)
    if preloaded:
        engine["ImportModules"] = preloaded
    task: dict[str, Any] = {"Name": "main", "Engine": {"Type": "wasm", "Params": engine}}
    if spec.env:
        task["Env"] = dict(spec.env)
    task["InputSources"] = inputs
    if spec.memory_bytes is not None:
        task["Resources"] = {"Memory": f"{-(-spec.memory_bytes // 1_000_000)}MB"}
    if spec.seconds is not None:
        task["Timeouts"] = {"ExecutionTimeout": max(1, round(spec.seconds))}
    job: dict[str, Any] = {"Name": _name(closure.name), "Type": "batch", "Count": 1}
    if closure.missing:
        job["Constraints"] = [{"Key": label_of(cid), "Operator": "exists"} for cid in closure.missing]
    return {**job, "Tasks": [task]}


def _input(target: str, cid: str) -> dict[str, Any]:
    return {"Target": target, "Source": {"Type": "ipfs", "Params": {"CID": cid}}}


def _preloaded(graph: Graph) -> list[str]:
    """Namespaces that no import of a function leads to, and so nothing would load; providers first."""
    names: list[str] = []
    for node in graph.nodes[:-1]:
        for name in graph.namespaces(node):
            if any(_only_others(user.interface, name) for user in graph.nodes if name in user.providers):
                names.append(name)
    return names


def _only_others(interface: Interface, namespace: str) -> bool:
    """Whether a module imports from a namespace, and no function."""
    kinds = {entry.item.kind for entry in interface.imports if entry.namespace == namespace}
    return bool(kinds) and Kind.FUNCTION not in kinds


def _check(graph: Graph) -> None:
    for node in graph.nodes:
        reason = _refused(node, is_root=node is graph.root)
        if reason is not None:
            raise InputError(
                "bacalhau-cannot-run",
                f"Bacalhau cannot run this program: `{node.fetched.name}` {reason}",
                hint="run it with `bacpack submit --engine dask`, or on a node",
                details={"module": node.fetched.name},
            )


def _refused(node: Node, *, is_root: bool) -> str | None:
    if node.fetched.cid is None:
        return "comes from a URL, which Bacalhau would put elsewhere than its import says: publish it by CID"
    for name in node.interface.namespaces:
        parsed = parse_namespace(name)
        if isinstance(parsed, HostModule):
            if name != _WASI:
                return f"imports from `{name}`, which Bacalhau does not have"
        elif "/" in name:
            return f"imports from `{name}`; only bare CIDs can be files of a job"
    if not is_root and node.interface.initializes:
        return "exports `_initialize`, which Bacalhau never calls"
    module = Module.parse(node.fetched.data)
    memories = len(module.memories) + sum(entry.item.kind == Kind.MEMORY for entry in node.interface.imports)
    if memories > 1:
        return f"has {memories} memories; Bacalhau's engine allows one"
    return None


def _name(text: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter == "-" else "-" for letter in text.lower())
    return "-".join(filter(None, kept.removesuffix("-wasm").split("-")))[:60] or "job"
