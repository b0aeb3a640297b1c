"""The page of limits says what the source holds to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bacnode.download import DownloadLimits
from bacnode.fetch import source_health
from bacnode.jobs import limits as job_limits
from bacnode.jobs import preparing, scheduler, schema, side
from bacnode.jobs.limits import Grants
from bacnode.limits import LoadLimits
from bacnode.pages import held, routes, sessions, views
from bacnode.peers import book, mdns, race, swarm
from bacnode.schedulers.run_here import MOST_FETCHING
from bacnode.service import body, front, peers, protocol, state, uploads
from bacnode.sources import _AHEAD, _AHEAD_BYTES, PARALLEL
from bacpack.content import blocks, path, scope, unixfs, walk
from bacpack.content.car import layout
from bacpack.http_client import RequestPolicy
from bacpack.http_client.redirects import MAX_HOPS
from bacpack.publish.targets import kubo, node, pinning
from bacpack.split.refuse import MOST_CODE_BYTES
from bacpack.wasm import limits as wasm

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "limits.md"


def binary(count: int) -> str:
    """Bytes in the largest unit that divides them."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count % (1 << power) == 0:
            return f"{count >> power} {unit}"
    raise AssertionError(f"{count} is no number of KiB")


load, policy, grants, downloads = LoadLimits(), RequestPolicy(), Grants(1, 1, 0), DownloadLimits()

#: The beginning of each row, and the values in its second column and after, in their order.
ROWS: dict[str, list[str]] = {
    "modules that stand one upon the other": [str(load.depth)],
    "modules of one program": [str(load.modules)],
    "one module": [binary(load.module_bytes)],
    "the code of one blob to split": [f"{MOST_CODE_BYTES // 1_000_000} MB"],
    "all modules of one program": [binary(load.total_bytes)],
    "what a URL gives": [binary(load.module_bytes), f"{policy.answer:g} s"],
    "redirects of one request": [str(MAX_HOPS)],
    "modules that are fetched before it is their turn": [str(_AHEAD), binary(_AHEAD_BYTES)],
    "silence; a request until": [f"{policy.idle:g} s"],
    "one block, however slowly it comes": [f"{policy.block:g} s"],
    "a Kubo looking for a block": [f"{policy.search:g} s"],
    "waiting for one source that answers 429": [f"{policy.busy:g} s in all"],
    "requests for one thing, when": [str(policy.tries), f"{policy.pause:g} s", f"{policy.pause * 2:g} s"],
    "failures one after the other": [str(policy.strikes)],
    "requests on their way": [str(PARALLEL)],
    "blocks of a stream that nobody asked for": [binary(downloads.unexpected_bytes)],
    "all new blocks": [binary(downloads.total_bytes)],
    "questions to a Kubo at once": [str(kubo._WORKERS)],
    "one CAR to a node": [binary(node.MAX_CAR_BYTES), f"{node.MAX_CAR_BLOCKS:,}", f"{node.MAX_CIDS:,}"],
    "a name; origins for a pinning service": [f"{kubo._MAX_NAME_BYTES} bytes", f"{node._MAX_NAME} characters"],
    "waits between looking after a pin": [f"{pinning._FIRST_POLL:g} s", f"{pinning._LONGEST_POLL:g} s"],
    "a block": [binary(blocks.MAX_BLOCK_BYTES)],
    "a CAR section": [binary(blocks.MAX_BLOCK_BYTES), str(layout.MAX_SECTION_BYTES - blocks.MAX_BLOCK_BYTES)],
    "a CAR header": [binary(layout.MAX_HEADER_BYTES)],
    "roots of a CAR file": [str(layout.MAX_ROOTS)],
    "depth of a DAG": [f"{walk.MAX_DAG_DEPTH} levels"],
    "line and headers of a request": [binary(protocol.MAX_HEAD_BYTES), f"{protocol.HEAD_SECONDS} s"],
    "open connections": [str(protocol.MAX_CONNECTIONS)],
    "requests of one client, a second": [f"{front.API_RATE:,.0f}", f"{front.API_RATE * front.BURST_SECONDS:,.0f}"],
    "the same for content": [f"{front.CONTENT_RATE:,.0f}", f"{front.CONTENT_RATE * front.BURST_SECONDS:,.0f}"],
    "attempts of one client to sign in": [str(routes.SIGN_IN_BURST), f"one every {1 / routes.SIGN_IN_RATE:.0f} s"],
    "sessions of pages": [str(sessions.MAX_SESSIONS), f"{sessions.SESSION_SECONDS // 3600} h"],
    "modules in the picture of a page": [str(views.MAX_DRAWN), f"{held.MAX_MODULES:,}"],
    "what a page shows of a log": [binary(routes.SHOWN_BYTES)],
    "a client that takes none of its answer": [f"{protocol.STALLED_SECONDS} s"],
    "the body of an upload": [
        binary(uploads.MAX_CAR_BYTES), f"{binary(body.MIN_RATE)} a second after {body.GRACE_SECONDS} s",
        f"{uploads.MAX_CAR_BLOCKS:,}",
    ],
    "any other body": [binary(body.MAX_JSON_BYTES), f"{uploads.MAX_CIDS:,}"],
    "uploads and pins under way": [str(uploads.MAX_UPLOADS)],
    "CARs being sent": [str(state.MAX_STREAMS)],
    "names in a path": [str(path.MAX_NAMES)],
    "depth of a DAG that is sent": [f"{unixfs.MAX_DEPTH} levels", f"{scope.MAX_REPEATS:,}"],
    "a peer that is asked whether": [f"{peers.ASK_SECONDS:g} s"],
    "requests to one peer": [str(source_health.MOST_AT_ONCE), str(swarm._BLOCKS), str(race.MOST_RUNNING)],
    "silence of a peer": [f"{swarm.POLICY.idle:g} s", f"{swarm.POLICY.block:g} s"],
    "peers that routers named": [str(book.MOST_ROUTED), f"{book.ROUTED_SECONDS / 3600:g} h", str(swarm.MOST_PROVIDERS)],
    "peers on the local network": [str(book.MOST_FOUND), str(mdns._ADDRESSES)],
    "running time of a job": [f"{grants.default_seconds:g} s", f"{grants.max_seconds / 3600:g} h"],
    "each memory of a job": [binary(grants.default_memory_bytes), binary(job_limits.OVERHEAD_BYTES)],
    "standard output and error together": [binary(grants.default_output_bytes), binary(grants.max_output_bytes)],
    "bytes of all its files": [
        binary(grants.default_file_bytes), f"{grants.default_files:,}", binary(grants.max_file_bytes),
        f"{grants.max_files:,}",
    ],
    "entries of all tables from the start": [f"{job_limits.MAX_TABLE_ELEMENTS:,}", str(load.modules)],
    "modules: one; all of a program": [binary(preparing.LIMITS.module_bytes), binary(preparing.LIMITS.total_bytes)],
    "fetching; preparing in all": [f"{preparing.FETCH_SECONDS} s", f"{scheduler.PREPARE_SECONDS} s"],
    "a submission; texts in it": [
        binary(schema.MAX_SUBMISSION_BYTES), binary(schema.MAX_TEXT_BYTES), str(schema.MAX_FILES),
    ],
    "a file given by CID": [binary(preparing.MAX_INPUT_BYTES)],
    "jobs that fetch at once": [str(MOST_FETCHING)],
    "jobs that have not ended": [f"{scheduler.MAX_WAITING:,}", f"{scheduler.MAX_KEPT:,}"],
    "attempts at a job": [str(job_limits.MAX_ATTEMPTS), str(scheduler.MAX_ATTEMPTS_OF_INNOCENTS)],
    "submissions, followers, bids": [str(side.MAX_SUBMITTING), str(side.MAX_FOLLOWING), str(side.MAX_SURVEYING)],
    "module": [binary(wasm.MAX_MODULE_BYTES)],
    "types, functions, imports, exports, globals, tags": [f"{wasm.MAX_TYPES:,} each"],
    "tables; memories": [f"{wasm.MAX_TABLES:,}", str(wasm.MAX_MEMORIES)],
    "data segments; element segments": [f"{wasm.MAX_DATA_SEGMENTS:,}", f"{wasm.MAX_ELEMENT_SEGMENTS:,}"],
    "table entries": [f"{wasm.MAX_TABLE_ENTRIES:,}"],
    "code of one function": [f"{wasm.MAX_FUNCTION_BYTES:,}"],
    "locals; parameters": [f"{wasm.MAX_LOCALS:,}", f"{wasm.MAX_PARAMETERS:,}", f"{wasm.MAX_RESULTS:,}"],
    "fields of a struct type": [f"{wasm.MAX_STRUCT_FIELDS:,}"],
    "targets of one": [f"{wasm.MAX_BRANCH_TARGETS:,}"],
    "an import or export name": [f"{wasm.MAX_NAME_BYTES:,}"],
}  # fmt: skip
#: Rows whose values are an option's, or are spread over the source.
BY_HAND = (
    "running time |", "each memory, each table", "all of it", "a connection; silence", "attempts, when", "an answer",
    "fuel",
)  # fmt: skip


def rows() -> list[str]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [line.removeprefix("| ") for line in lines if not line.startswith(("| limit ", "|---"))]


@pytest.mark.parametrize("beginning", ROWS)
def test_a_row_says_what_the_source_holds_to(beginning: str) -> None:
    named = [row for row in rows() if row.startswith(f"{beginning} |")]
    [row] = named or [row for row in rows() if row.startswith(beginning)]
    rest = row.partition(" | ")[2]
    for value in ROWS[beginning]:
        found = re.search(rf"(?<![\d,.]){re.escape(value)}(?![\d,.]*\d)", rest)
        assert found, f"`{row}` does not say {value}"
        rest = rest[found.end() :]


def test_every_row_is_looked_at() -> None:
    known = (*ROWS, *BY_HAND)
    assert [row for row in rows() if not row.startswith(known)] == [], "name their constants in ROWS"
