"""Jobs for Bacalhau: what is written passes its rules, and what is sent to it is followed to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bacnode.schedulers.bacalhau.labels import label_of
from bacpack.content.cid.cid import Cid
from node.harness import Command, assemble, write_release
from node.jobs.harness import JobNode
from node.schedulers.bacalhau import Orchestrator, load
from node.schedulers.harness import library, program

MEMORY = assemble('(module (memory (export "memory") 1) (table (export "table") 1 funcref))')
MEM = str(Cid.of_raw(MEMORY))
SHARED = assemble(f'(module (import "{MEM}" "memory" (memory 1)) (func (export "number") (result i32) (i32.const 1)))')
APP = assemble(
    f"""(module (import "{MEM}" "memory" (memory 1)) (import "{Cid.of_raw(SHARED)}" "number" (func $n (result i32)))
      (func (export "_start") (drop (call $n))))"""
)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


def by_cid(*modules: bytes) -> dict[str, bytes]:
    return {str(Cid.of_raw(data)): data for data in modules}


def test_the_job_of_a_split_program(command: Command, tmp_path: Path) -> None:
    app = write_release(tmp_path / "out", APP, MEMORY, SHARED)
    job = json.loads(command("jobspec", app, "--env", "A=b", "--timeout", "9", "--", "x", "-y").stdout)
    shared = str(Cid.of_raw(SHARED))
    ipfs = [("main.wasm", str(Cid.of_raw(APP))), (MEM, MEM), (shared, shared)]
    assert job == {
        "Name": "app",
        "Type": "batch",
        "Count": 1,
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "wasm",
                    "Params": {
                        "EntryModule": "main.wasm",
                        "Entrypoint": "_start",
                        "Parameters": ["x", "-y"],
                        "ImportModules": [MEM],
                    },
                },
                "Env": {"A": "b"},
                "InputSources": [
                    {"Target": target, "Source": {"Type": "ipfs", "Params": {"CID": cid}}} for target, cid in ipfs
                ],
                "Timeouts": {"ExecutionTimeout": 9},
            }
        ],
    }
    assert load(job, by_cid(APP, MEMORY, SHARED)) == [MEM, shared, ""]
    done = command("jobspec", app, "-o", tmp_path / "job.json", "--json")
    assert json.loads(done.stdout) == {
        "schema": 1, "target": "bacalhau", "path": str(tmp_path / "job.json"), "modules": 3
    }  # fmt: skip
    del job["Tasks"][0]["Engine"]["Params"]["ImportModules"]
    with pytest.raises(AssertionError, match="not instantiated"):
        load(job, by_cid(APP, MEMORY, SHARED))


def test_proprietary_modules_become_constraints(command: Command, tmp_path: Path) -> None:
    secret = library(100)
    app = write_release(tmp_path / "out", program(secret))
    job = json.loads(command("jobspec", app).stdout)
    assert job["Constraints"] == [{"Key": label_of(str(Cid.of_raw(secret))), "Operator": "exists"}]
    load(job, by_cid(program(secret), secret))

    (tmp_path / "secret.wasm").write_bytes(secret)
    with JobNode(tmp_path / "node", "--proprietary", tmp_path / "secret.wasm"):
        pass
    labels = command("node", "labels", "--store", tmp_path / "node").stdout.decode()
    assert labels == f"Labels={label_of(str(Cid.of_raw(secret)))}=1\n"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ('(memory 1) (memory 1) (func (export "number") (result i32) (i32.const 1))', "has 2 memories"),
        ('(func (export "_initialize")) (func (export "number") (result i32) (i32.const 1))', "exports `_initialize`"),
    ],
)
def test_what_bacalhau_cannot_run_is_refused(command: Command, tmp_path: Path, module: str, reason: str) -> None:
    provider = assemble(f"(module {module})")
    app = write_release(tmp_path / "out", program(provider), provider)
    assert reason in command.fails(2, "bacalhau-cannot-run", "jobspec", app)


def test_submitting(command: Command, tmp_path: Path) -> None:
    app = write_release(tmp_path / "out", APP, MEMORY, SHARED)
    other = app.with_name("other.wasm")
    other.write_bytes(program(SHARED))
    (tmp_path / "in.txt").write_text("data")
    output = {"stdout": "printed\n", "stderr": "", "exitCode": -1, "runnerError": ""}
    with Orchestrator({"app": output}) as orchestrator:
        engine = ("--engine", "bacalhau", "--scheduler", orchestrator.url)
        done = command("submit", app, *engine)
        assert (done.returncode, done.stdout, orchestrator.problems) == (0, b"printed\n", []), done.stderr
        done = command("submit", app, other, *engine, "--map", tmp_path / "in.txt", "--json")
    lines = {line["ref"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    good, bad = lines[str(app)], lines[str(other)]
    assert (good["state"], good["exit_code"], good["stdout"], good["node"]) == ("done", 0, "printed\n", "n-1")
    assert (bad["state"], bad["error"]["message"]) == ("failed", "no such program")
    task = orchestrator.jobs["j-1"]["Tasks"][0]
    assert task["Engine"]["Params"]["Parameters"] == ["in.txt"]
    assert task["InputSources"][-1] == {
        "Target": "/in.txt",
        "Source": {"Type": "inline", "Params": {"URL": "data:application/octet-stream;base64,ZGF0YQ=="}},
    }
    command.fails(3, "no-scheduler", "submit", app, *engine)


def test_the_probe(command: Command, tmp_path: Path) -> None:
    app = write_release(tmp_path / "out", APP, MEMORY, SHARED)
    job = json.loads(command("jobspec", app).stdout)
    with JobNode(tmp_path / "node") as node:

        def ask(query: str = "", body: object = None) -> tuple[bool, str]:
            answer = node.post(f"/api/v1/bacalhau/probe{query}", body or {"Job": job})
            headers = {name.lower(): value for name, value in answer.headers.items()}
            assert answer.status == 200 and headers["content-type"] == "application/json", answer
            assert int(headers["content-length"]) == len(answer.body)
            assert set(answer.json) == {"ShouldBid", "Reason"}
            return answer.json["ShouldBid"], answer.json["Reason"]

        should, reason = ask()
        assert not should and "is not available here" in reason
        for module in (APP, MEMORY, SHARED):
            node.add(module)
        assert ask() == (True, "every module is here")
        docker = {"Name": "d", "Tasks": [{"Name": "main", "Engine": {"Type": "docker"}, "InputSources": None}]}
        assert ask(body={"Job": docker}) == (True, "the job names no module by CID")
        assert node.post("/api/v1/bacalhau/probe", {"Task": 1}).status == 400
        for body in (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a": "\xff"}'):
            answer = node.ask("POST", "/api/v1/bacalhau/probe", body)
            assert (answer.status, answer.json["error"]["code"]) == (400, "bad-request")
        with JobNode(tmp_path / "second", "--peer", node.url) as second:
            answer = second.post("/api/v1/bacalhau/probe", {"Job": job}).json
            assert answer["ShouldBid"] is False and "3 modules are missing" in answer["Reason"]
            answer = second.post("/api/v1/bacalhau/probe?max-missing-bytes=100000", {"Job": job}).json
            assert answer["ShouldBid"] is True
