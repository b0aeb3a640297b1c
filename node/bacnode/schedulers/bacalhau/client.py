"""Jobs through Bacalhau's orchestrator: put there by its REST API, and followed until they end."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bacnode.schedulers.bacalhau.job_spec import bacalhau_job
from bacnode.schedulers.engine import Engine
from bacnode.schedulers.job_message import JobResult, JobSpec
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError, InputError, Problem, UnreachableError
from bacpack.http_client import HttpClient, RequestError, RequestPolicy
from bacpack.text import shown

if TYPE_CHECKING:
    from bacnode.schedulers.submitted_jobs import SubmittedJob

JOBS = "/api/v1/orchestrator/jobs"
#: States of a job that has ended, as Bacalhau names them.
_ENDED = frozenset(("completed", "failed", "stopped"))
#: Seconds between two looks at a job, and failures of the orchestrator to answer, one after the other, until it is
#: given up.
LOOK_SECONDS, MAX_FAILURES = 0.5, 10
#: Bytes of input files that stand in the job itself.
MAX_INLINE_BYTES = 5 << 20
#: The longest that one answer of the orchestrator may take and be: what a job printed stands in it.
ANSWER_SECONDS, MAX_ANSWER_BYTES = 120.0, 64 << 20


class BacalhauEngine(Engine):
    """Sends jobs to the orchestrator at a URL."""

    def __init__(self, url: str, look_seconds: float = LOOK_SECONDS) -> None:
        super().__init__()
        self._url = url.rstrip("/")
        policy = RequestPolicy(tries=MAX_FAILURES, pause=look_seconds, longest_pause=look_seconds)
        self._http = HttpClient(policy=policy)
        self._look_seconds = look_seconds

    def run(self, jobs: Sequence[SubmittedJob]) -> Iterator[JobResult]:
        """Run jobs; yield the result of each once, as they come."""
        flying: dict[str, SubmittedJob] = {}
        bodies = [(job, with_files(bacalhau_job(job.closure, job.spec), job.spec)) for job in jobs]
        for job, body in bodies:
            self.on_send(job)
            answer = self._ask("PUT", JOBS, {"Job": body, "Force": False})
            for warning in _list(answer.get("Warnings")):
                self.on_note(f"Bacalhau: {warning}")
            flying[str(answer.get("JobID"))] = job
        while flying:
            for name, job in list(flying.items()):
                state = _get(self._ask("GET", f"{JOBS}/{name}"), "Job", "State") or {}
                if str(_get(state, "StateType") or "").lower() in _ENDED:
                    del flying[name]
                    yield self._result(name, job.spec, state)
            if flying:
                time.sleep(self._look_seconds)

    def explain(self, job: SubmittedJob) -> None:
        """Nobody outside Bacalhau knows where it would run a job."""

    def _result(self, name: str, spec: JobSpec, state: Any) -> JobResult:
        executions = _list(self._ask("GET", f"{JOBS}/{name}/executions").get("Items"))
        begun = [one for one in executions if _get(one, "RunOutput")]
        last = begun[-1] if begun else (executions[-1] if executions else {})
        output = _get(last, "RunOutput") or {}
        is_done = str(_get(state, "StateType")).lower() == "completed"
        code = _get(output, "exitCode")
        message = _get(output, "runnerError") or _get(state, "Message") or "Bacalhau gives no reason"
        error = Problem("bacalhau-failed", str(message), f"see `bacalhau job describe {name}`", {"job": name})
        if _get(output, "stdouttruncated"):
            self.on_note(f"job {spec.number}: Bacalhau kept only the beginning of what it printed")
        return JobResult(
            number=spec.number,
            ref=spec.ref,
            state="done" if is_done else "failed",
            # A program that returns without naming a code has -1 there.
            exit_code=None if not isinstance(code, int) else 0 if code == -1 and is_done else code,
            error=None if is_done else error,
            stdout=str(_get(output, "stdout") or "").encode(),
            stderr=str(_get(output, "stderr") or "").encode(),
            node=_get(last, "NodeID"),
            attempts=max(len(begun), 1),
            report={"bacalhau_job": name},
        )

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        for pause in self._http.policy.pauses():
            # A job is not put there twice.
            is_last = method != "GET" or pause is None
            try:
                status, answer = self._send(method, path, body)
            except RequestError as error:
                if is_last:
                    raise self._unreachable(error.reason) from error
            else:
                if status == 200:
                    try:
                        return decode_json(answer, dict[str, Any])
                    except DecodeError as error:
                        raise self._unreachable(f"what answers speaks another language ({error})") from error
                if status < 500 or is_last:
                    raise self._refused(status, answer.decode(errors="replace"))
            time.sleep(self._look_seconds)
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        until = time.monotonic() + ANSWER_SECONDS
        with self._http.open(
            method, self._url + path, headers, content, any_address=True, follow=False, until=until
        ) as answer:
            try:
                return answer.status, answer.read(MAX_ANSWER_BYTES)
            except InputError as error:
                raise self._unreachable("its answer is too large") from error

    def _unreachable(self, why: str) -> BacpackError:
        return UnreachableError(
            "no-scheduler", f"no Bacalhau answers at `{self._url}`: {why}", hint="check the address with --scheduler",
            details={"scheduler": self._url},
        )  # fmt: skip

    def _refused(self, status: int, text: str) -> BacpackError:
        kind = InputError if status < 500 else UnreachableError
        return kind(
            "bacalhau-refused", f"Bacalhau at `{self._url}` answers {status}: {shown(text, 300)}",
            hint="see the job with `bacpack jobspec`", details={"status": status},
        )  # fmt: skip

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def with_files(job: dict[str, Any], spec: JobSpec) -> dict[str, Any]:
    """Return a job that holds the files which its program is given; raises `InputError` (`too-large`)."""
    if sum(len(file.data or b"") for file in spec.files) > MAX_INLINE_BYTES:
        raise InputError(
            "too-large", f"the input files have more than the {MAX_INLINE_BYTES} bytes that a job for Bacalhau holds",
            hint="publish them, and name them as InputSources of a specification of your own",
        )  # fmt: skip
    for file in spec.files:
        url = "data:application/octet-stream;base64," + base64.b64encode(file.data or b"").decode()
        source = {"Type": "inline", "Params": {"URL": url}}
        job["Tasks"][0]["InputSources"].append({"Target": f"/{file.path}", "Source": source})
    return job


def _get(value: Any, *names: str) -> Any:
    """Look into an answer, whichever way it writes its names."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = next((below for key, below in value.items() if key.lower() == name.lower()), None)
    return value


def _list(value: Any) -> list[Any]:
    """A list of an answer; empty where something else stands."""
    return value if isinstance(value, list) else []
