"""The page of limits says what the source holds to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bacnode import node_state
from bacnode.api import blocks as uploads
from bacnode.execution import executor, job, job_state, prepare_process
from bacnode.execution import grants as job_limits
from bacnode.execution.grants import Grants
from bacnode.fetch import source_health
from bacnode.fetch.download import DownloadLimits
from bacnode.fetch.limits import LoadLimits
from bacnode.fetch.source import PARALLEL
from bacnode.fetch.sources import _AHEAD, _AHEAD_BYTES
from bacnode.http_server import body, middleware, protocol
from bacnode.jobs import queue, service
from bacnode.pages import module_view, routes, sessions, views
from bacnode.peers import block_exchange, directory, hedged_request, mdns, peer_book
from bacnode.runtime import run_limits
from bacnode.schedulers.bacalhau import client as bacalhau
from bacpack.content.car import header, selection
from bacpack.content.cid import block
from bacpack.content.ipld import links
from bacpack.content.unixfs import nodes, path
from bacpack.http_client import RequestPolicy
from bacpack.http_client.redirects import MAX_HOPS
from bacpack.publish.targets import kubo, node, pinning_service
from bacpack.split.input.refusals import MOST_CODE_BYTES
from bacpack.wasm import limits as wasm

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "limits.md"


def rates(rate: float) -> list[str]:
    """Requests a second, on average and at once."""
    return [f"{rate:,.0f}", f"{rate * middleware.BURST_SECONDS:,.0f}"]


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
    "stack for the calls of a program": [binary(run_limits.STACK_BYTES), binary(run_limits.LINKED_STACK_BYTES)],
    "what a URL gives": [binary(load.module_bytes), f"{policy.answer:g} s"],
    "redirects of one request": [str(MAX_HOPS)],
    "modules that are fetched before it is their turn": [str(_AHEAD), binary(_AHEAD_BYTES)],
    "silence; a request until": [f"{policy.idle:g} s"],
    "one block, however slowly it comes": [f"{policy.block:g} s"],
    "a Kubo looking for a block": [f"{policy.search:g} s"],
    "waiting for one source that answers 429": [f"{policy.busy:g} s in all"],
    "requests for one thing, when": [str(policy.tries), f"{policy.pause:g} s", f"{policy.pause * 2:g} s"],
    "failures one after the other": [str(source_health.OF_A_RUN.failures)],
    "requests on their way": [str(PARALLEL)],
    "blocks of a stream that nobody asked for": [binary(downloads.unexpected_bytes)],
    "all new blocks": [binary(downloads.total_bytes)],
    "questions to a Kubo at once": [str(kubo._WORKERS)],
    "one CAR to a node": [binary(node.MAX_CAR_BYTES), f"{node.MAX_CAR_BLOCKS:,}", f"{node.MAX_CIDS:,}"],
    "a name; origins for a pinning service": [f"{kubo._MAX_NAME_BYTES} bytes", f"{node._MAX_NAME} characters"],
    "waits between looking after a pin": [f"{pinning_service._FIRST_POLL:g} s", f"{pinning_service._LONGEST_POLL:g} s"],
    "a block": [binary(block.MAX_BLOCK_BYTES)],
    "a CAR section": [binary(block.MAX_BLOCK_BYTES), str(header.MAX_SECTION_BYTES - block.MAX_BLOCK_BYTES)],
    "a CAR header": [binary(header.MAX_HEADER_BYTES)],
    "roots of a CAR file": [str(header.MAX_ROOTS)],
    "depth of a DAG": [f"{links.MAX_DAG_DEPTH} levels"],
    "line and headers of a request": [binary(protocol.MAX_HEAD_BYTES), f"{protocol.HEAD_SECONDS} s"],
    "open connections": [str(protocol.MAX_CONNECTIONS)],
    "requests of one client, a second": rates(middleware.API_RATE),
    "the same for content": rates(middleware.CONTENT_RATE),
    "attempts of one client to sign in": [str(routes.SIGN_IN_BURST), f"one every {1 / routes.SIGN_IN_RATE:.0f} s"],
    "sessions of pages": [str(sessions.MAX_SESSIONS), f"{sessions.SESSION_SECONDS // 3600} h"],
    "modules in the picture of a page": [str(views.MAX_DRAWN), f"{module_view.MAX_MODULES:,}"],
    "what a page shows of a log": [binary(routes.SHOWN_BYTES)],
    "a client that takes none of its answer": [f"{protocol.STALLED_SECONDS} s"],
    "the body of an upload": [
        binary(uploads.MAX_CAR_BYTES), f"{binary(body.MIN_RATE)} a second after {body.GRACE_SECONDS} s",
        f"{uploads.MAX_CAR_BLOCKS:,}",
    ],
    "any other body": [binary(body.MAX_JSON_BYTES), f"{uploads.MAX_CIDS:,}"],
    "uploads and pins under way": [str(node_state.WRITERS)],
    "CARs being sent": [str(node_state.MAX_STREAMS)],
    "names in a path": [str(path.MAX_NAMES)],
    "depth of a DAG that is sent": [f"{nodes.MAX_DEPTH} levels", f"{selection.MAX_REPEATS:,}"],
    "a peer that is asked whether": [f"{directory.ASK_SECONDS:g} s"],
    "requests to one peer": [
        str(source_health.MOST_AT_ONCE), str(block_exchange._BLOCKS), str(hedged_request.MOST_RUNNING),
    ],
    "silence of a peer": [f"{block_exchange.POLICY.idle:g} s", f"{block_exchange.POLICY.block:g} s"],
    "peers that routers named": [
        str(peer_book.MOST_ROUTED), f"{peer_book.ROUTED_SECONDS / 3600:g} h", str(block_exchange.MOST_PROVIDERS),
    ],
    "peers on the local network": [str(peer_book.MOST_FOUND), str(mdns._ADDRESSES)],
    "running time of a job": [f"{grants.default_seconds:g} s", f"{grants.max_seconds / 3600:g} h"],
    "each memory of a job": [binary(grants.default_memory_bytes), binary(job_limits.OVERHEAD_BYTES)],
    "standard output and error together": [binary(grants.default_output_bytes), binary(grants.max_output_bytes)],
    "bytes of all its files": [
        binary(grants.default_file_bytes), f"{grants.default_files:,}", binary(grants.max_file_bytes),
        f"{grants.max_files:,}",
    ],
    "stack for calls": [binary(run_limits.STACK_BYTES), binary(run_limits.LINKED_STACK_BYTES)],
    "entries of all tables from the start": [f"{run_limits.MAX_TABLE_ELEMENTS:,}", str(load.modules)],
    "modules: one; all of a program": [
        binary(prepare_process.LIMITS.module_bytes), binary(prepare_process.LIMITS.total_bytes),
    ],
    "fetching; preparing in all": [f"{prepare_process.FETCH_SECONDS} s", f"{executor.PREPARE_SECONDS} s"],
    "a submission; texts in it": [
        binary(job.MAX_SUBMISSION_BYTES), binary(job.MAX_TEXT_BYTES), str(job.MAX_FILES),
    ],
    "a file given by CID": [binary(prepare_process.MAX_INPUT_BYTES)],
    "jobs that fetch at once": [str(prepare_process.MOST_FETCHING)],
    "an answer of Bacalhau's orchestrator": [binary(bacalhau.MAX_ANSWER_BYTES), f"{bacalhau.ANSWER_SECONDS:g} s"],
    "jobs that have not ended": [f"{queue.MAX_WAITING:,}", f"{queue.MAX_KEPT:,}"],
    "attempts at a job": [str(job_state.MAX_ATTEMPTS), str(job_state.MAX_ATTEMPTS_OF_INNOCENTS)],
    "submissions, followers, bids": [
        str(service.MAX_SUBMITTING), str(service.MAX_FOLLOWING), str(service.MAX_ESTIMATING),
    ],
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
