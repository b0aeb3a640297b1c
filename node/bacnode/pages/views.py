"""What each page tells, as plain data: pure functions, given what the node knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bacnode.api.peers import ListedPeer
from bacnode.execution.job_state import ENDED
from bacnode.jobs.database import Record
from bacnode.jobs.inventory import StoredModule
from bacnode.jobs.view import JobView
from bacnode.pages.graph_layout import Picture, draw
from bacnode.pages.module_graph import Imports, Sharing, around, reachable, sharing, users_of
from bacnode.pages.text import between, name, short

#: Modules that are drawn; of more, only the table tells.
MAX_DRAWN = 200
STATES = ("queued", "fetching", "running", "done", "failed", "cancelled", "interrupted")


class NodeCard(msgspec.Struct, frozen=True, kw_only=True):
    """Who the node is."""

    peer_id: str
    url: str
    version: str


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job in a list."""

    id: str
    state: str
    program: str
    arguments: list[str]
    created: str
    #: Seconds that it ran, once it has ended.
    seconds: float | None
    exit_code: int | None
    attempts: int


class JobsView(msgspec.Struct, frozen=True, kw_only=True):
    """Some jobs, the newest first. `next` is given as `before` to see older ones."""

    schema: int = 1
    counts: dict[str, int]
    state: str | None
    jobs: list[JobRow]
    next: int | None


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one stream of a job."""

    stream: str
    bytes: int
    text: str
    is_cut: bool


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """One job with what it printed."""

    schema: int = 1
    job: JobView
    program: str
    has_ended: bool
    seconds: float | None
    logs: list[Printed]


class SharingView(msgspec.Struct, frozen=True, kw_only=True):
    """What is saved by keeping each module once. Sizes are in bytes."""

    programs: int
    apart_bytes: int
    together_bytes: int
    saved_bytes: int
    saved_percent: float


class ModuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A module with its place in the graph."""

    module: StoredModule
    name: str
    imports: list[str]
    users: list[str]
    #: Size of it and all it needs, as far as it is here.
    closure_bytes: int
    #: What it imports and the node does not hold.
    missing: list[str]


class ModulesView(msgspec.Struct, frozen=True, kw_only=True):
    """Every module that the node holds."""

    schema: int = 1
    sharing: SharingView
    bytes: int
    compiled: int
    uses: int
    modules: list[ModuleRow]


class ModuleView(msgspec.Struct, frozen=True, kw_only=True):
    """One module; `needs` and `needed_by` go through others."""

    schema: int = 1
    row: ModuleRow
    needs: list[str]
    needed_by: list[str]


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A peer: what is known of it, whether it answered a moment ago and how soon, and what came from it."""

    peer: ListedPeer
    answers: bool
    ms: float | None
    modules: int
    bytes: int


class PeersView(msgspec.Struct, frozen=True, kw_only=True):
    """The peers that the node knows, the nearest first."""

    schema: int = 1
    peers: list[PeerRow]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The first page."""

    schema: int = 1
    node: NodeCard
    counts: dict[str, int]
    jobs: list[JobRow]
    modules: int
    bytes: int
    sharing: SharingView
    peers: int


def job_row(record: Record, names: Mapping[str, str]) -> JobRow:
    """Return a job as a line of a list."""
    return JobRow(
        id=record.id,
        state=record.state,
        program=program_name(record.submission.ref, names),
        arguments=record.submission.args,
        created=record.created,
        seconds=between(record.started, record.finished),
        exit_code=record.ending.exit_code,
        attempts=record.attempts,
    )


def jobs_view(
    records: Sequence[Record], counts: Mapping[str, int], state: str | None, most: int, names: Mapping[str, str]
) -> JobsView:
    """Return a page of jobs, of which there were asked for `most`."""
    return JobsView(
        counts=all_counts(counts),
        state=state,
        jobs=[job_row(record, names) for record in records],
        next=records[-1].number if len(records) == most else None,
    )


def job_page(record: Record, job: JobView, logs: list[Printed], names: Mapping[str, str]) -> JobPage:
    """Return one job."""
    return JobPage(
        job=job,
        program=program_name(job.ref, names),
        has_ended=record.state in ENDED,
        seconds=between(record.started, record.finished),
        logs=logs,
    )


def program_name(ref: str, names: Mapping[str, str]) -> str:
    """What a program is called: by its module's name if that is known, otherwise by what it was submitted as."""
    text = ref.removeprefix("ipfs://").strip("/")
    return name(names[text]) if text in names else name(short(text) if "/" not in text else text)


def all_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Return a count for every state."""
    return {state: counts.get(state, 0) for state in STATES}


def called(module: StoredModule) -> str:
    """The first name of a module, or its CID."""
    return name(module.names[0]) if module.names else short(module.cid)


def names_of(modules: Iterable[StoredModule]) -> dict[str, str]:
    """Return the first name of every module that has one, by CID."""
    return {module.cid: module.names[0] for module in modules if module.names}


def modules_view(modules: Sequence[StoredModule], imports: Imports) -> ModulesView:
    """Return all modules; `imports` may name ones that are not here."""
    by_cid = {module.cid: module for module in modules}
    known = {cid: [other for other in imports.get(cid, ()) if other in by_cid] for cid in by_cid}
    sizes = {cid: module.bytes or 0 for cid, module in by_cid.items()}
    users = users_of(known)
    rows = [
        ModuleRow(
            module=module,
            name=called(module),
            imports=known[module.cid],
            users=users[module.cid],
            closure_bytes=sum(sizes[cid] for cid in reachable([module.cid], known)),
            missing=sorted(cid for cid in imports.get(module.cid, ()) if cid not in by_cid),
        )
        for module in modules
    ]
    return ModulesView(
        sharing=sharing_view(sharing(known, sizes)),
        bytes=sum(sizes.values()),
        compiled=sum(module.compiled for module in modules),
        uses=sum(module.uses for module in modules),
        # Programs first, then what most of them need.
        modules=sorted(rows, key=lambda row: (bool(row.users), -len(row.users), row.name, row.module.cid)),
    )


def module_view(view: ModulesView, cid: str) -> ModuleView | None:
    """Return one module, or None if it is not here."""
    row = next((row for row in view.modules if row.module.cid == cid), None)
    if row is None:
        return None
    imports = imports_of(view)
    names = {row.module.cid: (row.name, row.module.cid) for row in view.modules}
    return ModuleView(
        row=row,
        needs=sorted(reachable([cid], imports) - {cid}, key=names.__getitem__),
        needed_by=sorted(reachable([cid], users_of(imports)) - {cid}, key=names.__getitem__),
    )


def imports_of(view: ModulesView) -> dict[str, list[str]]:
    """Return the graph of a page's modules."""
    return {row.module.cid: row.imports for row in view.modules}


def picture(view: ModulesView, cid: str | None = None) -> Picture | None:
    """Draw the graph, or the part of it around one module; None if that is too much for a picture."""
    imports = imports_of(view) if cid is None else around(cid, imports_of(view))
    return draw(imports) if 0 < len(imports) <= MAX_DRAWN else None


def sharing_view(found: Sharing) -> SharingView:
    """Return it as it is sent."""
    return SharingView(
        programs=found.programs,
        apart_bytes=found.apart_bytes,
        together_bytes=found.together_bytes,
        saved_bytes=found.saved_bytes,
        saved_percent=found.saved_percent,
    )


def peers_view(
    known: Sequence[ListedPeer], answered: Mapping[str, float | None], modules: Sequence[StoredModule]
) -> PeersView:
    """Return the peers; `answered` says how many milliseconds each took to answer, None where it did not."""
    rows = []
    for peer in known:
        theirs = [module for module in modules if (module.obtained_from or "").rstrip("/") == peer.url]
        ms = answered.get(peer.url)
        rows.append(
            PeerRow(
                peer=peer,
                answers=ms is not None,
                ms=ms,
                modules=len(theirs),
                bytes=sum(module.bytes or 0 for module in theirs),
            )
        )
    return PeersView(peers=rows)
