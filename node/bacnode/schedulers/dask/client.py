"""Jobs through a scheduler of Dask: which keys each depends on, what becomes of workers that die, each result once."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from distributed import Future, KilledWorker

from bacnode.schedulers.dask.explain import explain
from bacnode.schedulers.dask.internals import who_has
from bacnode.schedulers.dask.keys import JOB_PREFIX, MEMORY, PRESENT, RUNS, TOPIC, module_key, resource_of
from bacnode.schedulers.dask.worker_plugin import EnsurePlugin, run_job
from bacnode.schedulers.engine import Engine
from bacnode.schedulers.job_message import JobResult, JobSpec, decode_result, encode
from bacnode.schedulers.placement import Verdict
from bacnode.schedulers.submitted_jobs import SubmittedJob
from bacpack.errors import Problem, UnreachableError

#: Workers that may end under one job before it is given up, and how often it is sent again for any other reason.
MAX_ATTEMPTS, MAX_SENDINGS = 3, 20
#: Seconds between two looks at who is there.
LOOK_SECONDS = 1.0
#: Jobs that are on their way for each thread of a worker: the next ones are placed by what workers hold by then.
AHEAD = 2


@dataclass(eq=False, slots=True)
class _Sent:
    job: SubmittedJob
    future: Any = None
    sendings: int = 0
    #: The task that fetched its modules.
    fetched_by: str | None = None
    #: Names of the workers that it was begun on: each time it was, but for the one that did nothing else than fetch.
    begun: list[str] = field(default_factory=list)
    #: Whether nobody waits for its result any more.
    abandoned: bool = False
    waits_for: tuple[str, ...] = ()
    waiting_since: float = 0.0


@dataclass(slots=True)
class DaskEngine(Engine):
    """Sends jobs to the scheduler that `client` is connected to."""

    #: A `distributed.Client`, much of which is not typed.
    client: Any
    #: Whether jobs depend on the keys of modules; without it Dask places them as any other task.
    by_modules: bool = True
    #: Whether all workers use the store of this machine.
    one_store: bool = False
    #: Jobs that are on their way at once; None for a few more than there are threads.
    window: int | None = None
    #: Options of the plugin that workers without one are given; None leaves them alone.
    ensure: dict[str, Any] | None = field(default_factory=dict)
    #: Who may be asked for modules that no worker holds, before those that a job names.
    peers: Sequence[str] = ()
    #: Names the worker that a job is bound to; for measuring what placement by others costs.
    bind: Callable[[SubmittedJob], str | None] = lambda job: None
    #: Told the number of a job and the name of the worker on which its program begins; from another thread.
    on_begin: Callable[[int, str], object] = lambda number, worker: None
    #: Jobs that ended or failed, each with its future, and with its result if there is one.
    _ended: queue.SimpleQueue[tuple[_Sent, Any, JobResult | None]] = field(default_factory=queue.SimpleQueue)
    _by_key: dict[str, _Sent] = field(default_factory=dict)

    def run(self, jobs: Sequence[SubmittedJob]) -> Iterator[JobResult]:
        """Run jobs; yield the result of each once, as they come.

        Raises `UnreachableError`: `no-workers` when no worker that runs jobs is there in time, and `no-scheduler` when
        the scheduler goes away and does not come back.
        """
        left = {job.spec.number for job in jobs}
        try:
            for result in self._run(jobs):
                left.discard(result.number)
                yield result
        except (OSError, TimeoutError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and self.client.status == "running":
                raise
            # What the client raises once it is no longer connected.
            raise _scheduler_lost(self.client, len(jobs), sorted(left)) from error

    def explain(self, job: SubmittedJob) -> list[Verdict]:
        """Say of each worker whether a job that is sent now is expected to run there, and why not."""
        return explain(self.client, job, one_store=self.one_store)

    def _run(self, jobs: Sequence[SubmittedJob]) -> Iterator[JobResult]:
        self.client.subscribe_topic(TOPIC, self._on_event)
        flying: set[_Sent] = set()
        try:
            if self.ensure is not None:
                self.client.register_plugin(EnsurePlugin(**self.ensure))
            self._await_workers()
            waiting = [_Sent(job) for job in reversed(jobs)]
            held_back: list[_Sent] = []
            looked, places = time.monotonic(), self._places()
            while waiting or flying or held_back:
                while waiting and len(flying) < places:
                    sent = waiting.pop()
                    # Dask would keep it waiting, and not look at a worker that offers the module later.
                    if self._waits(sent):
                        held_back.append(sent)
                        continue
                    self.on_send(sent.job)
                    self._send(sent)
                    flying.add(sent)
                try:
                    sent, future, found = self._ended.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    pass
                else:
                    result = self._outcome(sent, future, found) if future is sent.future else None
                    if result is not None:
                        # Dask would run it again if the worker that has its result went away.
                        future.release()
                        sent.future = None
                        flying.discard(sent)
                        yield result
                if time.monotonic() - looked > LOOK_SECONDS:
                    looked, places = time.monotonic(), self._places()
                    ready, given_up = self._look_at_waiting(held_back)
                    held_back = [sent for sent in held_back if sent not in ready and sent not in given_up]
                    waiting += ready
                    for sent in given_up:
                        yield self._no_holder(sent)
        finally:
            for sent in flying:
                sent.abandoned = True
            # It may be gone.
            with suppress(OSError, TimeoutError, RuntimeError):
                for sent in flying:
                    if sent.future is not None:
                        sent.future.cancel()
                self.client.unsubscribe_topic(TOPIC)

    def _send(self, sent: _Sent) -> None:
        spec, closure = sent.job.spec, sent.job.closure
        sent.sendings += 1
        resources: dict[str, float] = {resource_of(cid): 1 for cid in closure.missing}
        if self.by_modules:
            resources[RUNS] = 1
        if spec.memory_bytes is not None:
            resources[MEMORY] = spec.memory_bytes
        keys = [module_key(cid) for cid in closure.sizes] if self.by_modules else []
        known = who_has(self.client, [*keys, PRESENT])
        replicas: list[Any] = [Future(key, self.client) for key in keys if known.get(key)]
        present: Any = Future(PRESENT, self.client) if self.by_modules and known.get(PRESENT) else None
        key = f"{JOB_PREFIX}{secrets.token_hex(6)}-{spec.number}"
        self._by_key[key] = sent
        bound = self.bind(sent.job)
        future = self.client.submit(
            run_job,
            encode(self._addressed(sent)),
            replicas,
            present,
            key=key,
            pure=False,
            retries=0,
            resources=resources or None,
            workers=None if bound is None else [bound],
        )
        sent.future = future
        future.add_done_callback(lambda done: self._look_at(sent, done))

    def _addressed(self, sent: _Sent) -> JobSpec:
        spec = sent.job.spec
        return msgspec.structs.replace(
            spec,
            peers=[*self.peers, *spec.peers],
            modules=sent.job.closure.sizes,
            fetch_first=self.by_modules and sent.fetched_by is None,
            fetched_by=sent.fetched_by,
        )

    def _look_at(self, sent: _Sent, future: Any) -> None:
        """Send a job on whose modules were fetched, at once; what else ended `run` looks at. In a thread of Dask's."""
        result = None
        # The worker that has the result may have gone meanwhile, and nobody have another copy: then it is run again.
        # Whatever else happens here would be lost in this thread: `run` sends the job again, and meets it there.
        with suppress(Exception):
            if future.status == "finished":
                result = decode_result(future.result())
            if result is not None and result.state == "fetched" and not sent.abandoned:
                result = None
                sent.fetched_by = future.key
                del sent.begun[-1:]
                sent.sendings -= 1
                self._send(sent)
                future.release()  # Dask would fetch again if the worker went away
                return
        self._ended.put((sent, future, result))

    def _outcome(self, sent: _Sent, future: Any, result: JobResult | None) -> JobResult | None:
        """Return how a job ended; None if it was sent again."""
        spec = sent.job.spec
        if result is not None:
            attempts = max(len(sent.begun), 1)
            return msgspec.structs.replace(result, attempts=attempts, lost=self._lost(sent, attempts))
        why = None
        if future.status == "error":
            error = future.exception()
            if not isinstance(error, KilledWorker):
                return _failed(spec, "worker-failed", f"the worker failed: {error!r}", "see the worker's log", sent)
            why = f"{error.last_worker.address if error.last_worker else 'a worker'} ended under it"
        begun = len(sent.begun)
        if begun >= MAX_ATTEMPTS and why is not None:
            lost = self._lost(sent, begun + 1)
            message = f"the job was given up: {begun} workers ended under it, one after the other"
            return _failed(spec, "kills-workers", message, "run it alone, with less memory, to see why", sent, lost)
        if sent.sendings >= MAX_SENDINGS:
            return _failed(spec, "kills-workers", f"the job was given up after {sent.sendings} sendings",
                           "the cluster loses workers faster than jobs end", sent)  # fmt: skip
        # Workers that held its modules are gone, or it waited on workers that others brought down.
        self._await_workers()
        self._send(sent)
        return None

    def _lost(self, sent: _Sent, attempts: int) -> list[str]:
        return [f"{worker} ended while the job ran" for worker in sent.begun[: attempts - 1]]

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        sent = self._by_key.get(message["key"])
        if sent is not None and message["what"] == "program":
            self.on_begin(sent.job.spec.number, message["name"])
        elif sent is not None:
            sent.begun.append(message["name"])
            if len(sent.begun) > 1:
                self.on_note(f"job {message['job']}: {sent.begun[-2]} ended under it; it runs on {message['name']}")

    def _waits(self, sent: _Sent) -> bool:
        """Whether nobody offers a module of a job; says so when that begins, and when it ends."""
        number = sent.job.spec.number
        missing = [cid for cid in sent.job.closure.missing if not self._offered(cid)]
        if missing and not sent.waits_for:
            sent.waiting_since = time.monotonic()
            self.on_note(f"job {number} waits: no worker offers {missing[0]}")
        elif sent.waits_for and not missing:
            self.on_note(f"job {number} waits no longer: a worker offers {sent.waits_for[0]}")
        sent.waits_for = tuple(missing)
        return bool(missing)

    def _look_at_waiting(self, held_back: Sequence[_Sent]) -> tuple[list[_Sent], list[_Sent]]:
        """Return the jobs that wait no longer, and those that have waited too long."""
        ready, given_up = [], []
        for sent in held_back:
            if not self._waits(sent):
                ready.append(sent)
            elif time.monotonic() - sent.waiting_since > self.wait_seconds:
                given_up.append(sent)
        return ready, given_up

    def _no_holder(self, sent: _Sent) -> JobResult:
        message = f"no worker has offered {sent.waits_for[0]} for {self.wait_seconds:g} s"
        return _failed(sent.job.spec, "no-holder", message, "start the node that holds it, or publish the module", sent)

    def _offered(self, cid: str) -> bool:
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return any(worker["resources"].get(resource_of(cid)) for worker in workers)

    def _places(self) -> int:
        if self.window is not None:
            return self.window
        threads = sum(worker["nthreads"] for worker in self.client.scheduler_info(n_workers=-1)["workers"].values())
        return max(int(threads) * AHEAD, 2)

    def _await_workers(self) -> None:
        until = time.monotonic() + 60
        while not who_has(self.client, [PRESENT]).get(PRESENT):
            if time.monotonic() > until:
                raise UnreachableError(
                    "no-workers",
                    f"no worker at {self.client.scheduler.address} runs jobs",
                    hint="start one with `bacpack node serve --scheduler URL`",
                )
            time.sleep(0.05)


def _scheduler_lost(client: Any, count: int, left: list[int]) -> UnreachableError:
    shown = ", ".join(map(str, left[:8])) + (", …" if len(left) > 8 else "")
    return UnreachableError(
        "no-scheduler",
        f"the scheduler at `{client.scheduler.address}` is gone: of {count} jobs {count - len(left)} ended, "
        f"and what became of the others is not known ({shown})",
        hint="start it again, and submit the jobs that are left",
        details={"jobs": count, "unknown": left},
    )


def _failed(spec: JobSpec, code: str, message: str, hint: str, sent: _Sent, lost: list[str] | None = None) -> JobResult:
    return JobResult(
        number=spec.number, ref=spec.ref, state="failed", error=Problem(code, message, hint), attempts=len(sent.begun),
        lost=lost or [],
    )  # fmt: skip
