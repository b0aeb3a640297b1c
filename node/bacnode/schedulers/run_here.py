"""Running one job here: modules from the store or from who holds them, verified; then a worker as a node has it.

What is fetched is linked and compiled in this process. The program runs in another that has no network and no store,
within the same limits, and ends with the same codes as on a node.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from bacnode.compiled import CompileCache
from bacnode.jobs.children import LostError
from bacnode.jobs.folders import JobFolder
from bacnode.jobs.holding import LayeredStore
from bacnode.jobs.limits import OVERHEAD_BYTES, Grants
from bacnode.jobs.plan import Plan, Prepared, Ran, Run
from bacnode.jobs.planning import Planner
from bacnode.jobs.pool import Pool
from bacnode.jobs.problems import problem
from bacnode.jobs.reports import job_report, later
from bacnode.jobs.scheduler import GRACE_SECONDS, KILLED, MAX_ATTEMPTS
from bacnode.jobs.schema import Limits
from bacnode.limits import LoadLimits
from bacnode.programs import open_program
from bacnode.resolver import Graph, resolve
from bacnode.schedulers.closure import keep_one
from bacnode.schedulers.spec import GivenFile, JobResult, JobSpec, KeptFile
from bacnode.sources import Source
from bacnode.transport import Transport
from bacnode.web import Web
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore
from bacpack.errors import BacpackError, InputError

#: Returns a source that uses a transport.
MakeSource: TypeAlias = Callable[[Transport], Source]

#: Files that one job may leave.
MAX_FILES = 1024
#: Bytes of the files of one job, which travel in memory.
MAX_FILE_BYTES = 256 << 20
#: Programs whose plans are remembered.
_PLANS = 256
#: Sources whose bytes came over the network.
_FAR = frozenset(("peer", "gateway", "kubo", "url"))


@dataclass(frozen=True, slots=True)
class Here:
    """What jobs of this process use. `private` holds what may be run here and not be given away."""

    store: BlockStore
    #: Where compiled modules are kept.
    cache: Path
    #: How many jobs run at once, and the memory of all of them.
    threads: int
    memory_bytes: int
    name: str
    peers: Sequence[str] = ()
    private: BlockStore | None = None
    offline: bool = False
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how far a job has come."""

    #: Told of the modules that were put into the store for it.
    on_ready: Callable[[list[tuple[Cid, int]]], object] = lambda kept: None
    #: Told that its program begins, each time that it does; in the event loop.
    on_begin: Callable[[], object] = lambda: None


@dataclass(slots=True)
class RunHere:
    """Runs jobs from any thread; made and closed in the event loop that watches over them."""

    here: Here
    _pool: Pool = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _grants: Grants = field(init=False)
    _planner: Planner = field(init=False)
    _plans: OrderedDict[tuple[str, str | None], Plan] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        here = self.here
        # A job may take as long as it likes, unless it says how long.
        self._grants = Grants(here.threads, 1, here.memory_bytes, default_seconds=math.inf, max_seconds=math.inf)
        self._planner = Planner(CompileCache(here.cache))
        self._pool = Pool(here.cache, self._grants)
        self._loop = asyncio.get_running_loop()
        self._pool.open()

    async def open(self) -> None:
        """Start the processes that run programs; raises `LostError`."""
        await self._pool.start()

    async def close(self) -> None:
        """End them."""
        await self._pool.close()

    def run(self, spec: JobSpec, holders: MakeSource | None = None, watch: Watch | None = None) -> JobResult:
        """Run a job."""
        try:
            with tempfile.TemporaryDirectory(prefix="bacpack-job-") as temporary:
                return self._run(spec, holders, watch or Watch(), JobFolder(Path(temporary, "job")))
        except BacpackError as error:
            return self._failed(spec, problem(error), error.exit_status)
        except LostError as lost:
            code, hint = lost.code or "interrupted", "give it more memory or time, or run it alone to see why"
            message = f"the program was stopped: {lost.why}"
            ended_by = {"code": code, "message": message, "hint": hint, "details": {}}
            return self._failed(spec, ended_by, KILLED if lost.code else None)
        except Exception as error:
            # A fault of ours is an answer, too: the job would kill worker after worker otherwise.
            failure = {"code": "worker-failed", "message": repr(error), "hint": "report this", "details": {}}
            return self._failed(spec, failure, None)

    def _run(self, spec: JobSpec, holders: MakeSource | None, watch: Watch, folder: JobFolder) -> JobResult:
        for _ in range(MAX_ATTEMPTS):
            prepared, kept = self._prepare(spec, holders)
            assert prepared.plan is not None
            watch.on_ready(kept)
            _fill(folder, spec.files)
            run = self._question(spec, prepared.plan, folder)
            ran = asyncio.run_coroutine_threadsafe(self._in_a_worker(run, watch), self._loop).result()
            if not ran.stale:
                break
            self._plans.pop((spec.target, spec.invoke), None)
        return self._ended(spec, folder, prepared, ran)

    def _prepare(self, spec: JobSpec, holders: MakeSource | None) -> tuple[Prepared, list[tuple[Cid, int]]]:
        """Return the plan of a program, and those of its modules that were now put into the store."""
        key = (spec.target, spec.invoke)
        plan = self._plans.get(key)
        if plan is not None:
            plan = later(plan, str(self.here.store.folder))
            return Prepared(job=str(spec.number), plan=plan, error=None, load_ms=0.0), []
        started = time.perf_counter()
        graph = self._fetch(spec, holders)
        plan = self._planner.plan(spec.target, graph, spec.invoke, fueled=False)
        took = (time.perf_counter() - started) * 1000
        kept: list[tuple[Cid, int]] = []
        for node in graph.nodes:
            fetched, private = node.fetched, self.here.private
            if fetched.cid is None or (private is not None and private.has(fetched.cid)):
                continue
            cid = keep_one(fetched, self.here.store)
            if cid is not None:
                kept.append((cid, len(fetched.data)))
        if plan.lasting:
            self._plans[key] = plan
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        return Prepared(job=str(spec.number), plan=plan, error=None, load_ms=took), kept

    def _fetch(self, spec: JobSpec, holders: MakeSource | None) -> Graph:
        here, limits = self.here, LoadLimits()
        web = Web(
            [*here.peers, *(peer for peer in spec.peers if peer not in here.peers)],
            offline=here.offline, allow_private=here.allow_private,
        )  # fmt: skip
        if holders is not None and not here.offline:
            web.remotes.insert(0, holders(web.transport))  # type: ignore[arg-type]  # as far as programs use them
        try:
            store = here.store if here.private is None else LayeredStore(here.store, here.private)
            program = open_program(spec.target, store, web, limits)
            return resolve(program.root, program.sources.fetch, limits, program.sources.announce)
        finally:
            web.transport.close()

    def _question(self, spec: JobSpec, plan: Plan, folder: JobFolder) -> Run:
        asked = Limits(seconds=spec.seconds, memory_bytes=spec.memory_bytes, output_bytes=spec.output_bytes)
        return Run(
            job=folder.path.parent.name,
            plan=plan,
            folder=str(folder.path),
            arguments=[spec.name, *spec.args],
            environment=spec.env,
            limits=self._grants.grant(asked),
            folders=spec.folders,
        )

    async def _in_a_worker(self, run: Run, watch: Watch) -> Ran:
        charge = run.limits.memory_bytes * max(run.plan.memories, 1) + OVERHEAD_BYTES
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                async with self._pool.worker(charge) as worker:
                    watch.on_begin()
                    late = run.limits.seconds + GRACE_SECONDS
                    overdue = self._loop.call_later(late, worker.kill, "it ran longer than it may", "time-limit")
                    try:
                        ran = await worker.ask(run, run.job)
                    finally:
                        overdue.cancel()
            except LostError as lost:
                if lost.code is not None or attempt == MAX_ATTEMPTS:
                    raise
                JobFolder(Path(run.folder)).begin()
            else:
                assert isinstance(ran, Ran)
                return ran
        raise AssertionError

    def _ended(self, spec: JobSpec, folder: JobFolder, prepared: Prepared, ran: Ran) -> JobResult:
        out, err = folder.cut(spec.output_bytes)
        files = folder.collect(spec.outputs, MAX_FILES, MAX_FILE_BYTES)
        assert prepared.plan is not None
        return JobResult(
            number=spec.number,
            ref=spec.ref,
            state="done" if ran.error is None else "failed",
            exit_code=ran.exit_code,
            error=ran.error,
            results=ran.results,
            stdout=folder.stdout.read_bytes()[:out],
            stderr=folder.stderr.read_bytes()[:err],
            files=[KeptFile(path=file.path, data=(folder.outputs / file.path).read_bytes()) for file in files],
            node=self.here.name,
            report=job_report(spec.ref, 1, prepared, ran, self.here.name),
            moved_bytes=sum(module.bytes for module in prepared.plan.modules if module.source in _FAR),
        )

    def _failed(self, spec: JobSpec, error: dict[str, Any], exit_code: int | None) -> JobResult:
        return JobResult(
            number=spec.number, ref=spec.ref, state="failed", exit_code=exit_code, error=error, node=self.here.name
        )


def _fill(folder: JobFolder, files: Sequence[GivenFile]) -> None:
    """Put into a job's folder what it is given, as a node does."""
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir(mode=0o700)
    folder.stdin.touch()
    for file in files:
        _give(folder, file)
    folder.begin()


def _give(folder: JobFolder, file: GivenFile) -> None:
    target = folder.input(file.path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.data is not None:
            target.write_bytes(file.data)
        elif file.host is not None:
            shutil.copyfile(file.host, target)
    except OSError as error:
        raise InputError(
            "cannot-give-file", f"the file `{file.path}` cannot be given to the program: {error}", hint="check its path"
        ) from error
