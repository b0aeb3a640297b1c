"""Fixtures of the tests of pages: a node that has been used for long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.store.origins import Provenance
from node.jobs import programs
from node.jobs.harness import JobNode
from node.pages import stage


@dataclass(frozen=True)
class Used:
    """A node with 40 modules and 120 jobs that ended, and some that it ran: their names."""

    node: JobNode
    programs: list[str]
    jobs: list[str]
    #: Never ends, with a hostile argument, and has printed hostile text.
    running: str
    #: Left a file.
    leaving: str
    #: A module with a hostile name.
    hostile: str


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    folder = tmp_path_factory.mktemp("used") / "store"
    refs = stage.fill_modules(folder, 40)
    jobs = stage.fill_jobs(folder, refs, 120)
    library = programs.library(3)
    hostile = str(Cid.of_raw(library))
    Provenance(folder).record([(Cid.parse(hostile), f"{stage.HOSTILE}.wasm")], stage.HOSTILE)
    with JobNode(folder, "--workers", 3, "--peer", "http://127.0.0.1:9") as node:
        node.add(library)
        running = node.submit(programs.endless("\\1b[31mred\\1b[0m <b>bold</b>"), args=[stage.HOSTILE])
        node.until_printed(running, b"bold")
        leaving = node.submit(programs.copier(), stdin={"text": "so"}, outputs=["out"])
        node.ended(leaving)
        yield Used(node, refs, jobs, running, leaving, hostile)
