"""Bacalhau as far as jobs for its WebAssembly executor go: a checker of its rules, and a strict orchestrator.

The rules are those of `pkg/models` and `pkg/executor/wasm` of version 1.9; each was found by running its loader.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from bacpack.content.cid.cid import Cid
from bacpack.wasm import Kind
from bacpack.wasm.interface import read_interface
from serving import Quiet, Serving

WASI = "wasi_snapshot_preview1"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def check(job: Mapping[str, Any]) -> None:
    """Fail unless Bacalhau takes the job."""
    assert set(job) <= {"Name", "Type", "Count", "Constraints", "Tasks", "Meta", "Labels"}, job
    assert job["Name"] and job["Type"] in ("batch", "ops", "daemon", "service") and job["Count"] == 1
    (task,) = job["Tasks"]
    assert set(task) <= {"Name", "Engine", "Env", "InputSources", "Resources", "Timeouts"}, task
    assert task["Name"] and task["Engine"]["Type"] == "wasm"
    assert set(task["Engine"]["Params"]) <= {"EntryModule", "Entrypoint", "Parameters", "ImportModules"}
    for constraint in job.get("Constraints", ()):
        assert constraint["Operator"] in ("exists", "in", "notin", "="), constraint
        assert _LABEL.fullmatch(constraint["Key"]), constraint
    targets = [source["Target"] for source in task["InputSources"]]
    assert all(targets) and len({target.strip("/") for target in targets}) == len(targets), targets
    for source in task["InputSources"]:
        kind, params = source["Source"]["Type"], source["Source"]["Params"]
        assert kind in ("ipfs", "inline"), source
        if kind == "ipfs":
            Cid.parse(params["CID"])
        else:
            assert params["URL"].startswith("data:") and not params["URL"].startswith("data:application/gzip")


def load(job: Mapping[str, Any], blocks: Mapping[str, bytes]) -> list[str]:
    """Load a job's modules as Bacalhau does; return the names of the instances, in order."""
    check(job)
    task = job["Tasks"][0]
    files: dict[str, bytes] = {}
    for source in task["InputSources"]:
        if source["Source"]["Type"] == "ipfs":
            # The root of a file of several blocks would be a file as well; tests use small ones.
            files[source["Target"].lstrip("/")] = blocks[source["Source"]["Params"]["CID"]]
        else:
            encoded = source["Source"]["Params"]["URL"].partition(",")[2]
            files[source["Target"].lstrip("/")] = base64.b64decode(encoded)
    instances: dict[str, dict[str, Any]] = {}

    def instantiate(path: str, name: str, depth: int = 0) -> None:
        assert depth < 100, "modules import each other in a circle: the loader would not end"
        data = files[path.lstrip("/")]
        interface = read_interface(data)
        for entry in interface.imports:
            # Only functions lead it to a module.
            if entry.item.kind == Kind.FUNCTION and entry.namespace not in instances and entry.namespace != WASI:
                assert entry.namespace in files, f"unknown module {entry.namespace}"
                instantiate(entry.namespace, entry.namespace, depth + 1)
        for entry in interface.imports:
            if entry.namespace != WASI:
                assert entry.namespace in instances, f"module[{entry.namespace}] not instantiated"
                assert entry.name in instances[entry.namespace], entry
        instances[name] = dict(interface.exports)

    params = task["Engine"]["Params"]
    for name in params.get("ImportModules", ()):
        if name not in instances:
            instantiate(name, name)
    instantiate(params["EntryModule"], "")
    assert params["Entrypoint"] in instances[""]
    return list(instances)


class Orchestrator(Serving):
    """Answers as an orchestrator does, for jobs that each end after being asked for twice."""

    def __init__(self, outputs: Mapping[str, dict[str, Any]]) -> None:
        """`outputs` says by job name what its run gives; a job with another name fails."""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.problems: list[str] = []
        self._asked: dict[str, int] = {}
        owner = self

        class Own(Quiet, BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    assert self.path == "/api/v1/orchestrator/jobs", self.path
                    assert self.headers["Content-Type"] == "application/json"
                    assert set(body) == {"Job", "Force"}, body
                    check(body["Job"])
                except AssertionError as error:
                    owner.problems.append(str(error))
                    self.answer(400, {"Message": str(error)})
                    return
                name = f"j-{len(owner.jobs)}"
                owner.jobs[name] = body["Job"]
                self.answer(200, {"JobID": name, "EvaluationID": "e", "Warnings": None})

            def do_GET(self) -> None:
                parts = self.path.removeprefix("/api/v1/orchestrator/jobs/").split("/")
                job = owner.jobs[parts[0]]
                output = outputs.get(job["Name"])
                if parts[1:] == ["executions"]:
                    run = {"stdout": "", "stderr": "", "exitCode": -1, "runnerError": "no such program"}
                    self.answer(200, {"Items": [{"ID": "x", "NodeID": "n-1", "RunOutput": output or run}]})
                    return
                owner._asked[parts[0]] = owner._asked.get(parts[0], 0) + 1
                ended = "Completed" if output else "Failed"
                state = ended if owner._asked[parts[0]] > 1 else "Running"
                self.answer(200, {"Job": {"ID": parts[0], "State": {"StateType": state, "Message": "it failed"}}})

            def answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        super().__init__(Own)
