"""One job of Dask as a job of the executor, and back."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from distributed import Reschedule

from bacnode.execution.executor import Executor, Journal
from bacnode.execution.grants import Grants
from bacnode.execution.job import Job, JobEnd, JobSources, Limits
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.job_state import JobState, Signal
from bacnode.execution.messages import Prepared
from bacnode.runtime.plan import PlannedModule
from bacnode.schedulers.job_message import GivenFile, JobResult, JobSpec, KeptFile
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.errors import EXIT_INPUT, BacpackError, InputError, Problem
from bacpack.files import explain_not_utf8

#: Files that one job may leave.
MAX_FILES = 1024
#: Bytes of the files of one job, which travel in memory.
MAX_FILE_BYTES = 256 << 20
#: Jobs that are prepared at once: those that wait for modules must not hold up one that has them.
PREPARING = 64
#: Jobs whose modules were fetched, and that are to be sent once more.
_FETCHED = 256
#: Sources whose bytes came over the network.
_REMOTE = frozenset(("peer", "gateway", "kubo", "url"))


@dataclass(slots=True)
class Watch(Journal):
    """Who is told how far a job has come, and the task that it is."""

    task: str
    #: Told that modules have to be fetched before it can run; in the thread of the job.
    on_lack: Callable[[], object]
    #: Told of the modules of its plan.
    on_ready: Callable[[Sequence[PlannedModule]], Awaitable[object]]
    #: Told that its program begins, each time that it does.
    on_begin: Callable[[], object]
    prepared: Prepared | None = None

    def changed(self, state: JobState) -> None:
        """Say that it begins."""
        if state.phase == "running":
            self.on_begin()

    async def planned(self, prepared: Prepared) -> None:
        """Say what came for it."""
        self.prepared = prepared
        if prepared.plan is not None:
            await self.on_ready(prepared.plan.modules)


class WorkerJobs:
    """Runs jobs from any thread; made and closed in the event loop of a worker.

    `store` is what the worker gives away, `private` what jobs may use besides; `sources` says who is asked for modules.
    Folders of jobs are made in `scratch`, so that they go when the worker is gone.
    """

    def __init__(
        self, store: BlockStore, private: BlockStore, cache: Path, threads: int, memory_bytes: int, name: str,
        sources: JobSources, scratch: str, *, all_features: bool,
    ) -> None:  # fmt: skip
        # A job may take as long as it likes, unless it says how long.
        grants = Grants(
            threads, 1, memory_bytes, default_seconds=math.inf, max_seconds=math.inf, all_features=all_features
        )
        self.executor = Executor(store.folder, cache, grants, name, preparing=PREPARING, prepare_seconds=None)
        self._stores = (store, private)
        self._sources = sources
        self._scratch = scratch
        self._loop = asyncio.get_running_loop()
        self._fetched: OrderedDict[str, Prepared] = OrderedDict()

    async def open(self) -> None:
        """Start the processes that prepare and run programs; raises `LostError`."""
        self.executor.open()
        await self.executor.start()

    def run(self, spec: JobSpec, holders: Mapping[str, list[str]], watch: Watch) -> JobResult:
        """Run a job; or, if it says so and lacks modules, fetch them and return that this was done."""
        result = JobResult(number=spec.number, ref=spec.ref, state="failed", node=self.executor.name)
        try:
            with tempfile.TemporaryDirectory(prefix="bacpack-job-", dir=self._scratch) as temporary:
                return self._run(spec, holders, watch, JobFolder(Path(temporary, "job")), result)
        except Reschedule:
            raise
        except BacpackError as error:
            return msgspec.structs.replace(result, error=error.problem(), exit_code=error.exit_status)
        except UnicodeEncodeError as error:
            return msgspec.structs.replace(result, error=explain_not_utf8(error).problem(), exit_code=EXIT_INPUT)
        except Exception as error:
            # A fault of ours is an answer, too: the job would kill worker after worker otherwise.
            return msgspec.structs.replace(result, error=Problem.fault("worker-failed", error))

    def _run(
        self, spec: JobSpec, holders: Mapping[str, list[str]], watch: Watch, folder: JobFolder, result: JobResult
    ) -> JobResult:
        job = self._job(spec, holders, folder)
        if job.only_prepares:
            watch.on_lack()
        else:
            _fill(folder, spec.files)
            watch.prepared = self._fetched.pop(spec.fetched_by or "", None)
        running = self.executor.run(job, folder, watch, Signal.SUBMITTED, watch.prepared)
        end = asyncio.run_coroutine_threadsafe(running, self._loop).result()
        if end is None:
            # The worker ends; another may run it.
            raise Reschedule
        if end.error is None and job.only_prepares:
            assert watch.prepared is not None
            self._fetched[watch.task] = watch.prepared
            if len(self._fetched) > _FETCHED:
                self._fetched.popitem(last=False)
            return msgspec.structs.replace(result, state="fetched")
        return self._ended(end, folder, watch.prepared, result)

    def _job(self, spec: JobSpec, holders: Mapping[str, list[str]], folder: JobFolder) -> Job:
        base = self._sources
        asked = Limits(seconds=spec.seconds, memory_bytes=spec.memory_bytes, output_bytes=spec.output_bytes)
        job = Job(
            id=folder.path.parent.name, ref=spec.target, shown_ref=spec.ref, name=spec.name, args=spec.args,
            env=spec.env, folders=spec.folders, outputs=spec.outputs, invoke=spec.invoke,
            granted=self.executor.grants.grant(asked),
            sources=msgspec.structs.replace(
                base, holders=dict(holders), peers=list(dict.fromkeys((*base.peers, *spec.peers))), sizes=spec.modules
            ),
        )  # fmt: skip
        must_fetch = (
            spec.fetch_first and job.program not in self.executor.plans and not all(map(self._has, spec.modules))
        )
        return replace(job, only_prepares=True) if must_fetch else job

    def _has(self, cid: str) -> bool:
        return any(store.has(Cid.parse(cid)) for store in self._stores)

    @staticmethod
    def _ended(end: JobEnd, folder: JobFolder, prepared: Prepared | None, result: JobResult) -> JobResult:
        modules = end.report["modules"] if end.report is not None else []
        return msgspec.structs.replace(
            result,
            state="done" if end.error is None else "failed",
            exit_code=prepared.exit_status if prepared is not None and prepared.error is not None else end.exit_code,
            error=end.error,
            results=end.results,
            stdout=_first(folder.stdout, end.stdout_bytes),
            stderr=_first(folder.stderr, end.stderr_bytes),
            files=list(_kept(end, folder)),
            report=end.report,
            moved_bytes=sum(module["bytes"] for module in modules if module["source"] in _REMOTE),
        )


def _first(stream: Path, size: int) -> bytes:
    return stream.read_bytes()[:size] if size else b""


def _kept(end: JobEnd, folder: JobFolder) -> Iterator[KeptFile]:
    """Yield the files that a job left, as far as they may travel."""
    left = MAX_FILE_BYTES
    for file in end.files[:MAX_FILES]:
        if file.bytes <= left:
            left -= file.bytes
            yield KeptFile(path=file.path, data=(folder.outputs / file.path).read_bytes())


def _fill(folder: JobFolder, files: Sequence[GivenFile]) -> None:
    """Put into a job's folder what it is given."""
    folder.path.mkdir(mode=0o700)
    folder.stdin.touch()
    for file in files:
        target = folder.input(file.path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.data is not None:
                target.write_bytes(file.data)
            elif file.host is not None:
                shutil.copyfile(file.host, target)
        except OSError as error:
            raise InputError(
                "cannot-give-file", f"the file `{file.path}` cannot be given to the program: {error}",
                hint="check its path",
            ) from error  # fmt: skip
