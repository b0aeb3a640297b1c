"""Programs that mean harm: each ends within its limit, and the node answers all the while."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from node.harness import assemble
from node.health import healthy
from node.jobs import programs
from node.jobs.harness import JobNode, children_with, gone
from node.server import FileServer
from waiting import until

MIB = 1 << 20


def test_an_endless_loop_is_ended_in_time(node: JobNode) -> None:
    with healthy(node):
        started = time.monotonic()
        job = node.run(programs.endless(), limits={"seconds": 0.5})
        assert (job["state"], job["exit_code"], job["error"]["code"]) == ("failed", 124, "time-limit")
        assert 0.5 < time.monotonic() - started < 20
        assert job["attempts"] == 1
    assert node.run(programs.hello())["state"] == "done"


def test_what_sleeps_in_the_host_is_killed(node: JobNode) -> None:
    with healthy(node):
        job = node.run(programs.sleeper(), limits={"seconds": 0.3})
    assert (job["state"], job["error"]["code"], job["attempts"]) == ("failed", "time-limit", 1)
    assert node.run(programs.hello())["state"] == "done"


def test_what_sleeps_in_the_host_is_cancelled(node: JobNode) -> None:
    job = node.submit(programs.sleeper())
    node.until(job, "running")
    assert node.post(f"/api/v1/jobs/{job}", method="DELETE").json["state"] == "cancelled"


def test_fuel_runs_out(node: JobNode) -> None:
    job = node.run(programs.endless(), limits={"fuel": 1_000_000})
    assert (job["state"], job["error"]["code"]) == ("failed", "fuel-limit")
    assert node.run(programs.hello(), limits={"fuel": 1_000_000})["state"] == "done"


def test_a_memory_bomb_gets_no_more_than_its_limit(node: JobNode) -> None:
    with healthy(node):
        job = node.run(programs.memory_bomb(), limits={"memory_bytes": 64 * MIB})
    # It was refused, and may go on as it likes.
    assert (job["state"], job["exit_code"]) == ("done", 7)


def test_what_a_job_took_is_given_back_when_it_ends(folder: Path) -> None:
    with JobNode(folder, "--workers", 1) as node:
        bomb = node.add(programs.memory_bomb())
        for _ in range(4):
            job = node.run(bomb, limits={"memory_bytes": 200 * MIB})
            assert (job["state"], job["exit_code"]) == ("done", 7)
            status = Path(f"/proc/{node.worker()}/status").read_text().splitlines()
            assert next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon:")) < 100 * MIB


def test_a_program_of_more_modules_than_descriptors_usual_for_a_process_runs(folder: Path) -> None:
    few = "from resource import *; setrlimit(RLIMIT_NOFILE, (100, getrlimit(RLIMIT_NOFILE)[1]))"
    with JobNode(folder, "--workers", 1, first=few) as node:
        held = [node.add(programs.numbered(number)) for number in range(120)]
        assert node.run(programs.user_of(*held))["exit_code"] == sum(range(120))


def test_many_large_tables_are_refused(node: JobNode) -> None:
    tables = "".join("(table 10000000 funcref)" for _ in range(50))
    job = node.run(assemble(f'(module {tables} (func (export "_start")))'))
    assert job["state"] == "failed"
    assert job["error"]["code"] in ("memory-limit", "cannot-instantiate"), job["error"]


def test_a_flood_of_output_is_stopped_and_cut(node: JobNode) -> None:
    with healthy(node):
        job = node.run(programs.flood(), limits={"output_bytes": 1 * MIB})
    assert (job["state"], job["error"]["code"]) == ("failed", "output-limit")
    assert job["stdout_bytes"] == MIB
    assert len(node.get(f"/api/v1/jobs/{job['id']}/logs").body) == MIB


def test_a_file_without_end_is_stopped(node: JobNode) -> None:
    with healthy(node):
        job = node.run(programs.filler(), limits={"file_bytes": 4 * MIB}, outputs=["big"])
    assert (job["state"], job["error"]["code"], job["files"]) == ("failed", "file-limit", [])
    folder = node.store / "jobs" / job["id"]
    assert not (folder / "root").exists() and not (folder / "out").exists()


@pytest.mark.parametrize("target", ["../../../node-token", "../in/secret", "/etc/passwd"])
def test_links_lead_nowhere(node: JobNode, target: str) -> None:
    (node.store / "node-token").stat()
    job = node.run(programs.linker_out(target), outputs=["way", "way/x"])
    assert (job["state"], job["files"]) == ("done", [])
    assert node.get(f"/api/v1/jobs/{job['id']}/files/way").status == 404


@pytest.mark.parametrize("path", ["../../node-token", "/etc/passwd", "../stdin", "..%2f..%2fnode-token"])
def test_programs_read_nothing_outside(node: JobNode, path: str) -> None:
    job = node.submit(programs.reader(path))
    assert node.ended(job)["state"] == "done"
    assert node.get(f"/api/v1/jobs/{job}/logs").body == b"none"


@pytest.mark.parametrize(
    "path", ["../../../node-token", "..%2f..%2f..%2fnode-token", "%2e%2e/stdin", "/etc/passwd", "%00"]
)
def test_paths_of_files_lead_nowhere(node: JobNode, path: str) -> None:
    job = node.run(programs.copier(), outputs=["out"])["id"]
    for name in (job, "..", "%2e%2e"):
        answer = node.get(f"/api/v1/jobs/{name}/files/{path}")
        assert answer.status in (400, 404), answer.body
        assert node.token.encode() not in answer.body


def test_imports_too_deep_are_refused(node: JobNode) -> None:
    cid = node.add(programs.library(1))
    for _ in range(100):
        cid = node.add(
            assemble(
                f'(module (import "{cid}" "number" (func $f (result i32)))'
                ' (func (export "number") (result i32) (i32.add (call $f) (i32.const 1))))'
            )
        )
    with healthy(node):
        job = node.run(programs.user_of(cid))
    assert (job["state"], job["error"]["code"]) == ("failed", "too-deep")


def test_imports_in_a_circle_are_refused(folder: Path) -> None:
    """A circle takes URLs, for no CID can stand in what it names; here the node may follow those to this machine."""
    folder.mkdir()
    allowed = """
if module.__name__ == "bacnode.execution.prepare_process":
    from bacnode.fetch.session import Web
    module.JobWeb.get = lambda self, url, most, **_: Web.get(self, url, most, named_by_user=True)
"""
    with FileServer() as server, JobNode(folder / "node", first=children_with(folder, allowed)) as node:
        urls = [f"{server.url}/{number}.wasm" for number in range(5)]
        for number in range(5):
            server.put(f"/{number}.wasm", programs.user_of(urls[number - 1], export="_start"))
        with healthy(node):
            for program in (urls[0], programs.user_of(urls[0], export="_start")):
                job = node.run(program)
                assert (job["state"], job["error"]["code"]) == ("failed", "import-cycle"), job["error"]


def test_jobs_reach_no_address_that_is_not_public(node: JobNode) -> None:
    for url in (f"{node.url}/a.wasm", "http://192.168.0.1/a.wasm", "http://[::1]/a.wasm"):
        for program in (programs.user_of(url), url):
            job = node.run(program)
            assert (job["state"], job["error"]["code"]) == ("failed", "url-private")


def test_ten_thousand_imports_are_refused(node: JobNode) -> None:
    absent = [str(Cid.of_raw(b"%d" % number)) for number in range(10_000)]
    imports = "".join(f'(import "{cid}" "f" (func))' for cid in absent)
    with healthy(node):
        job = node.run(assemble(f'(module {imports} (func (export "_start")))'))
    assert job["state"] == "failed"
    assert job["error"]["code"] in ("module-not-found", "too-many-modules")


def test_more_modules_than_a_program_may_have_are_refused(folder: Path) -> None:
    with JobNode(folder) as node:
        held = [node.add(programs.numbered(number)) for number in range(1100)]
        with healthy(node):
            job = node.run(programs.user_of(*held))
        assert (job["state"], job["error"]["code"]) == ("failed", "too-many-modules")


def test_a_module_that_is_not_what_its_cid_says_is_not_run(node: JobNode) -> None:
    module = programs.library(31)
    cid = Cid.parse(node.add(module))
    path = next((node.store / "blocks").glob(f"*/{cid}"))
    path.write_bytes(programs.library(32))
    job = node.run(programs.user_of(str(cid)))
    assert job["state"] == "failed"
    assert job["error"]["code"] in ("corrupt-block", "module-not-found"), job["error"]
    path.write_bytes(module)
    assert node.run(programs.user_of(str(cid)))["exit_code"] == 31


@pytest.mark.parametrize("data", [b"", b"\0asm", b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f", b"no module" * 100])
def test_what_is_no_module_is_refused(node: JobNode, data: bytes) -> None:
    job = node.run(data)
    assert job["state"] == "failed"
    assert node.run(programs.hello())["state"] == "done"


def test_a_killed_worker_costs_an_attempt(folder: Path) -> None:
    with JobNode(folder, "--workers", 1) as node:
        job = node.submit(programs.endless("on"), limits={"seconds": 120})
        for attempt in (1, 2):
            node.until_printed(job, b"on")
            worker = node.worker()
            assert node.job(job)["attempts"] == attempt
            with healthy(node):
                os.kill(worker, signal.SIGKILL)
                assert gone(worker)
                until(lambda: node.job(job)["attempts"] != attempt, "the job is begun again")  # noqa: B023
        node.until_printed(job, b"on")
        os.kill(node.worker(), signal.SIGKILL)
        ended = node.ended(job)
        assert (ended["state"], ended["error"]["code"], ended["attempts"]) == ("interrupted", "interrupted", 3)
        assert node.run(programs.hello())["state"] == "done"


def test_a_killed_worker_ends_a_job_that_must_not_run_again(folder: Path) -> None:
    with JobNode(folder, "--workers", 1) as node:
        job = node.submit(programs.endless("on"), rerun=False)
        node.until_printed(job, b"on")
        os.kill(node.worker(), signal.SIGKILL)
        ended = node.ended(job)
        assert (ended["state"], ended["attempts"]) == ("interrupted", 1)


def test_jobs_share_a_worker_and_do_not_suffer_from_each_other(folder: Path) -> None:
    with JobNode(folder, "--workers", 1, "--jobs-per-worker", 8, "--jobs-memory", "2GiB") as node:
        limits = {"memory_bytes": 16 * MIB, "seconds": 120}
        loops = [node.submit(programs.endless(f"on{at}"), limits=limits) for at in range(4)]
        for at, job in enumerate(loops):
            node.until_printed(job, b"on%d" % at)
        node.worker()
        assert node.run(programs.hello(), limits=limits)["state"] == "done"
        trapped = node.run(assemble('(module (func (export "_start") unreachable))'), limits=limits)
        assert trapped["error"]["code"] == "trap"
        limited = node.run(programs.endless(), limits={**limits, "seconds": 0.2})
        assert limited["error"]["code"] == "time-limit"
        # One that sleeps in the host takes the worker with it; the others begin anew, and that is told.
        slept = node.run(programs.sleeper(), limits={**limits, "seconds": 0.2})
        assert (slept["state"], slept["error"]["code"]) == ("failed", "time-limit")
        for at, job in enumerate(loops):
            node.until_printed(job, b"on%d" % at)
            assert node.until(job, "running")["attempts"] >= 2
            assert node.post(f"/api/v1/jobs/{job}", method="DELETE").json["state"] == "cancelled"
