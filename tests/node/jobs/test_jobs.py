from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.harness import assemble
from node.jobs import programs
from node.jobs.harness import JobNode, b64, dump
from node.runtime.test_wasi_preview0 import IMPORTS
from test_verdict import COMPACT, LEGACY


def test_a_program_runs_and_its_report_names_its_modules(node: JobNode) -> None:
    library = node.add(programs.library(5))
    program = programs.user_of(library)
    job = node.run(program)
    assert (job["state"], job["exit_code"], job["error"], job["attempts"]) == ("done", 5, None, 1)
    report = job["report"]
    assert [module["cid"] for module in report["modules"]] == [library, node.add(program)]
    assert all(module["source"] == "store" and module["verified"] for module in report["modules"])
    assert report["node"] == node.peer_id


def test_what_was_compiled_is_used_again(node: JobNode) -> None:
    library = node.add(programs.library(6))
    first = node.run(programs.user_of(library))["report"]["modules"]
    again = node.run(programs.user_of(library))["report"]["modules"]
    other = node.run(programs.user_of(library, library))["report"]["modules"]
    assert [module["compiled_cached"] for module in first] == [False, False]
    assert [module["compiled_cached"] for module in again] == [True, True]
    assert [module["compiled_cached"] for module in other] == [True, False]


def test_files_go_in_and_come_out(node: JobNode) -> None:
    job = node.run(programs.copier(), stdin={"base64": b64(b"so it is")}, outputs=["out", "nothing"])
    assert job["files"] == [{"path": "out/copy.txt", "bytes": 8}]
    answer = node.get(f"/api/v1/jobs/{job['id']}/files/out/copy.txt")
    assert (answer.status, answer.body) == (200, b"so it is")
    assert node.get(f"/api/v1/jobs/{job['id']}/files/nothing").code == "no-such-file"


@pytest.mark.parametrize("content", ["text", "base64", "cid"])
def test_a_program_reads_the_files_that_it_is_given(node: JobNode, content: str) -> None:
    given = {"text": "inside", "base64": b64(b"inside"), "cid": node.add(b"inside")}[content]
    job = node.submit(programs.reader("sub/in.txt"), files=[{"path": "sub/in.txt", content: given}])
    assert node.ended(job)["state"] == "done"
    assert node.get(f"/api/v1/jobs/{job}/logs").body == b"inside"


def test_stdin_may_be_content_by_cid(node: JobNode) -> None:
    job = node.run(programs.copier(), stdin={"cid": node.add(b"by name")}, outputs=["out/copy.txt"])
    assert node.get(f"/api/v1/jobs/{job['id']}/files/out/copy.txt").body == b"by name"


def test_a_function_is_called_with_arguments(node: JobNode) -> None:
    job = node.run(programs.adder(), invoke="add", args=["2", "40"])
    assert (job["state"], job["results"]) == ("done", ["42"])


def test_a_failure_is_never_a_success(node: JobNode) -> None:
    for code in (256, 512, -1):
        program = assemble(f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))""")
        job = node.run(program)
        assert job["exit_code"] == job["report"]["exit_code"] == code & 0xFFFFFFFF


def test_what_is_no_function_without_parameters_initializes_nothing(node: JobNode) -> None:
    library = node.add(assemble('(module (global (export "_initialize") i32 (i32.const 1)) (func (export "f")))'))
    job = node.run(assemble(f'(module (import "{library}" "f" (func)) (func (export "_start")))'))
    assert (job["state"], job["exit_code"], job["error"]) == ("done", 0, None)


@pytest.mark.parametrize("module", [COMPACT, LEGACY])
def test_what_is_too_new_is_told_as_the_command_tells_it(node: JobNode, module: bytes) -> None:
    assert node.run(module)["error"]["code"] == "wasm-unsupported"


def test_a_program_for_preview_0_of_wasi_runs(node: JobNode) -> None:
    program = assemble(f"""(module {IMPORTS} (func (export "_start")
      (drop (call $path_stat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 128)))
      (call $exit (i32.wrap_i64 (i64.load (i32.const 152))))))""")
    job = node.run(program, files=[{"path": "file.txt", "text": "0123456789"}])
    assert (job["state"], job["exit_code"], job["error"]) == ("done", 10, None)


def test_logs_are_sent_while_the_program_runs(node: JobNode) -> None:
    job = node.submit(programs.endless("begun"))
    connection = node.connect()
    connection.request("GET", f"/api/v1/jobs/{job}/logs?follow=1&stream=stdout")
    answer = connection.getresponse()
    assert answer.read(6) == b"begun\n"
    assert node.job(job)["state"] == "running"
    assert node.post(f"/api/v1/jobs/{job}", method="DELETE").json["state"] == "cancelled"
    assert answer.read() == b""
    connection.close()


def test_a_job_that_waits_is_cancelled(node: JobNode) -> None:
    running = [node.submit(programs.endless("on")) for _ in range(2)]
    for job in running:
        node.until_printed(job, b"on")
    waiting = node.submit(programs.hello())
    assert node.post(f"/api/v1/jobs/{waiting}", method="DELETE").json["state"] == "cancelled"
    for job in running:
        cancelled = node.post(f"/api/v1/jobs/{job}", method="DELETE").json
        assert (cancelled["state"], cancelled["error"]["code"]) == ("cancelled", "cancelled")
    # A second time changes nothing.
    assert node.post(f"/api/v1/jobs/{waiting}", method="DELETE").json["state"] == "cancelled"
    assert node.run(programs.hello())["state"] == "done"


def test_jobs_are_listed_newest_first_and_in_pages(node: JobNode) -> None:
    made = [node.run(programs.hello())["id"] for _ in range(3)]
    first = node.get("/api/v1/jobs?limit=2").json
    assert [job["id"] for job in first["jobs"]] == made[:0:-1]
    rest = node.get(f"/api/v1/jobs?limit=1&before={first['next']}").json
    assert rest["jobs"][0]["id"] == made[0]
    assert all(job["state"] == "done" for job in node.get("/api/v1/jobs?state=done").json["jobs"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"ref": "./app.wasm"},
        {"ref": "/etc/passwd"},
        {"ref": "file:///etc/passwd"},
        {"files": [{"path": "../x", "text": ""}]},
        {"files": [{"path": "a", "text": ""}, {"path": "a/b", "text": ""}]},
        {"files": [{"path": "a", "text": "", "base64": ""}]},
        {"files": [{"path": "a", "base64": "?"}]},
        {"files": [{"path": "a", "cid": "nonsense"}]},
        {"files": [{"path": "x" * 300, "text": ""}]},
        {"outputs": ["../../jobs.sqlite3"]},
        {"outputs": ["/"]},
        {"args": ["a\0b"]},
        {"env": {"": "x"}},
        {"env": {"a=b": "x"}},
        {"limits": {"seconds": 0}},
        {"limits": {"memory_bytes": 1 << 50}},
        {"unknown": 1},
    ],
)
def test_what_cannot_be_run_is_refused(node: JobNode, wrong: dict[str, object]) -> None:
    answer = node.post("/api/v1/jobs", {"ref": node.add(programs.hello()), **wrong})
    assert answer.status == 400, answer.body
    assert answer.code in ("bad-job", "bad-request", "bad-cid", "bad-ref")


def test_a_module_that_nobody_has_is_named(node: JobNode) -> None:
    absent = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    job = node.run(programs.user_of(absent))
    assert (job["state"], job["error"]["code"]) == ("failed", "module-not-found")
    assert job["error"]["details"]["cid"] == absent


def test_a_trap_is_told_with_its_calls(node: JobNode) -> None:
    job = node.run(assemble('(module (func (export "_start") unreachable))'))
    assert (job["state"], job["exit_code"], job["error"]["code"]) == ("failed", 134, "trap")
    assert job["report"]["trap"]["backtrace"]


def test_pages_in_a_browser_need_the_token(node: JobNode) -> None:
    body = dump({"ref": node.add(programs.hello())})
    assert node.ask("POST", "/api/v1/jobs", body).status == 201
    for headers in (
        {"Origin": "https://example.org"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Authorization": "Bearer wrong"},
    ):
        answer = node.ask("POST", "/api/v1/jobs", body, headers)
        # A name that is not this machine's is refused before anything is asked of it.
        refused = 421 if "Host" in headers else 401
        assert answer.status == refused, headers
        assert node.ask("GET", "/api/v1/modules", headers=headers).status == refused
        assert node.ask("GET", "/metrics", headers=headers).status == refused


def test_from_other_machines_jobs_need_the_token(folder: Path) -> None:
    with JobNode(folder, listen="0.0.0.0:0") as public:
        headers = {"Host": "127.0.0.1"}
        for method, path in (("POST", "jobs"), ("GET", "jobs"), ("GET", "modules"), ("POST", "bids")):
            assert public.ask(method, f"/api/v1/{path}", b"{}", headers).status == 401
        assert public.post("/api/v1/jobs", {"ref": public.add(programs.hello())}).status == 201


def test_reports_and_metrics_count_jobs(node: JobNode) -> None:
    module = programs.library(77)
    program = programs.user_of(node.add(module))
    for _ in range(3):
        node.run(program)
    report = node.get("/api/v1/modules").json
    found = {entry["cid"]: entry for entry in report["modules"]}[node.add(module)]
    assert (found["uses"], found["compiled"], found["verified"], found["bytes"]) == (3, True, True, len(module))
    assert found["last_used"] and not found["proprietary"] and not found["pinned"]
    assert report["node"]["peer_id"] == node.peer_id
    text = node.get("/metrics").body.decode()
    assert 'bacpack_jobs_ended_total{state="done"}' in text


def test_a_submission_too_large_is_refused(node: JobNode) -> None:
    body = json.dumps({"ref": "x", "stdin": {"text": "x" * (17 << 20)}}).encode()
    answer = node.ask("POST", "/api/v1/jobs", body)
    assert (answer.status, answer.code) == (413, "too-large")
