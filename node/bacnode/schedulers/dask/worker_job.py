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
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec

from bacnode.execution.child_process import LostError
from bacnode.execution.grants import GRACE_SECONDS, OVERHEAD_BYTES, Grants
from bacnode.execution.job import Limits
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.job_report import job_report
from bacnode.execution.job_state import KILLED, MAX_ATTEMPTS
from bacnode.execution.messages import Prepared, Ran, Run
from bacnode.execution.shortest_first import Turns
from bacnode.execution.worker_pool import Pool
from bacnode.fetch.limits import LoadLimits
from bacnode.fetch.session import Web
from bacnode.fetch.source import Source
from bacnode.fetch.stored_sources import FetchOnce, keep_one
from bacnode.programs.module_graph import Graph
from bacnode.programs.open_program import open_program
from bacnode.programs.resolver import resolve
from bacnode.runtime.call_trace import located
from bacnode.runtime.code_cache import CompileCache
from bacnode.runtime.plan import Plan, later, places_in
from bacnode.runtime.planner import Planner
from bacnode.schedulers.job_message import GivenFile, JobResult, JobSpec, KeptFile
from bacnode.stores.layered_store import LayeredStore
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef
from bacpack.content.store.block_store import BlockStore
from bacpack.errors import EXIT_INPUT, BacpackError, InputError, Problem
from bacpack.files import explain_not_utf8
from bacpack.http_client import HttpClient

#: Returns a source that uses a client.
MakeSource: TypeAlias = Callable[[HttpClient], Source]

#: Files that one job may leave.
MAX_FILES = 1024
#: Bytes of the files of one job, which travel in memory.
MAX_FILE_BYTES = 256 << 20
#: Jobs that fetch at once, those first that lack least: each is ready sooner if it need not share the network with all
#: others, and one whose source is silent must not hold up the rest.
MOST_FETCHING = 3
#: Programs whose plans are remembered, and jobs whose modules were fetched.
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
    #: Whether programs may use what few need; see `bacnode.runtime.engine_config`.
    all_features: bool = True
    #: Where folders of jobs are made, so that they go when the worker is gone; the system's temporary folder if None.
    scratch: str | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how far a job has come, and the task that it is."""

    task: str = ""
    #: Told that modules have to be fetched before it can run.
    on_lack: Callable[[], object] = lambda: None
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
    _once: FetchOnce = field(init=False)
    _turns: Turns = field(init=False)
    _plans: OrderedDict[tuple[str, str | None], Plan] = field(default_factory=OrderedDict)
    #: What jobs need that are to be sent once more, by the task that fetched it.
    _fetched: OrderedDict[str, Prepared] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        here = self.here
        # A job may take as long as it likes, unless it says how long.
        self._grants = Grants(
            here.threads, 1, here.memory_bytes, default_seconds=math.inf, max_seconds=math.inf,
            all_features=here.all_features,
        )  # fmt: skip
        self._planner = Planner(CompileCache(here.cache), all_features=here.all_features)
        self._pool = Pool(here.cache, self._grants)
        self._once = FetchOnce(here.store)
        self._turns = Turns(MOST_FETCHING)
        self._loop = asyncio.get_running_loop()
        self._pool.open()

    async def open(self) -> None:
        """Start the processes that run programs; raises `LostError`."""
        await self._pool.start()

    async def close(self) -> None:
        """End them."""
        await self._pool.close()

    def run(self, spec: JobSpec, holders: MakeSource | None = None, watch: Watch | None = None) -> JobResult:
        """Run a job; or, if it says so and lacks modules, fetch them and return that this was done."""
        watch = watch or Watch()
        try:
            if spec.fetch_first and self._missing(spec):
                watch.on_lack()
                self._fetched[watch.task] = self._prepare(spec, holders, watch)
                if len(self._fetched) > _PLANS:
                    self._fetched.popitem(last=False)
                return JobResult(number=spec.number, ref=spec.ref, state="fetched", node=self.here.name)
            with tempfile.TemporaryDirectory(prefix="bacpack-job-", dir=self.here.scratch) as temporary:
                return self._run(spec, holders, watch, JobFolder(Path(temporary, "job")))
        except BacpackError as error:
            return self._failed(spec, error.problem(), error.exit_status)
        except UnicodeEncodeError as error:
            return self._failed(spec, explain_not_utf8(error).problem(), EXIT_INPUT)
        except LostError as lost:
            code, hint = lost.code or "interrupted", "give it more memory or time, or run it alone to see why"
            message = f"the program was stopped: {lost.why}"
            return self._failed(spec, Problem(code, message, hint), KILLED if lost.code else None)
        except Exception as error:
            # A fault of ours is an answer, too: the job would kill worker after worker otherwise.
            return self._failed(spec, Problem.fault("worker-failed", error), None)

    def _run(self, spec: JobSpec, holders: MakeSource | None, watch: Watch, folder: JobFolder) -> JobResult:
        for _ in range(MAX_ATTEMPTS):
            prepared = self._fetched.pop(spec.fetched_by or "", None) or self._prepare(spec, holders, watch)
            assert prepared.plan is not None
            _fill(folder, spec.files)
            run = self._question(spec, prepared.plan, folder)
            ran = asyncio.run_coroutine_threadsafe(self._in_a_worker(run, watch), self._loop).result()
            if not ran.stale:
                break
            self._plans.pop((spec.target, spec.invoke), None)
        return self._ended(spec, folder, prepared, ran)

    def _missing(self, spec: JobSpec) -> dict[str, int]:
        """The modules that a job lacks, with their sizes, as far as that is known."""
        if (spec.target, spec.invoke) in self._plans:
            return {}
        return {cid: size for cid, size in spec.modules.items() if not self._has(cid)}

    def _has(self, cid: str) -> bool:
        parsed, private = Cid.parse(cid), self.here.private
        return self.here.store.has(parsed) or (private is not None and private.has(parsed))

    def _prepare(self, spec: JobSpec, holders: MakeSource | None, watch: Watch) -> Prepared:
        """Return the plan of a program, whose modules then are in the store."""
        started = time.perf_counter()
        plan = self._known(spec) or self._plan(spec, self._fetch(spec, holders), watch)
        return Prepared(job=str(spec.number), plan=plan, error=None, load_ms=(time.perf_counter() - started) * 1000)

    def _known(self, spec: JobSpec) -> Plan | None:
        """The plan of a program that ran here before."""
        plan = self._plans.get((spec.target, spec.invoke))
        return None if plan is None else later(plan, str(self.here.store.folder))

    def _plan(self, spec: JobSpec, graph: Graph, watch: Watch) -> Plan:
        plan = self._planner.plan(spec.target, graph, spec.invoke, fueled=False)
        kept: list[tuple[Cid, int]] = []
        for node in graph.nodes:
            fetched, private = node.fetched, self.here.private
            if fetched.cid is None or (private is not None and private.has(fetched.cid)):
                continue
            cid = keep_one(fetched, self.here.store)
            if cid is not None:
                kept.append((cid, len(fetched.data)))
        watch.on_ready(kept)
        if plan.lasting:
            self._plans[spec.target, spec.invoke] = plan
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        return plan

    def _fetch(self, spec: JobSpec, holders: MakeSource | None) -> Graph:
        here, limits = self.here, LoadLimits()
        missing = self._missing(spec)

        def lacks() -> int:
            """Bytes that are still missing: other jobs bring some of them."""
            for cid in [cid for cid in missing if self._has(cid)]:
                del missing[cid]
            return sum(missing.values())

        web = Web(
            [*here.peers, *(peer for peer in spec.peers if peer not in here.peers)],
            offline=here.offline, allow_private=here.allow_private,
        )  # fmt: skip
        if holders is not None and not here.offline:
            web.remotes.insert(0, holders(web.http))  # type: ignore[arg-type]  # as far as programs use them
        # As far as programs use them: they read from remotes, and ask them for no CAR.
        web.remotes = [self._once.of(remote) for remote in web.remotes]  # type: ignore[misc]
        try:
            with self._turns.take(lacks) if missing else nullcontext():
                store = here.store if here.private is None else LayeredStore(here.store, here.private)
                program = open_program(spec.target, store, web, limits)
                program.sources.announce([CidRef(Cid.parse(cid)) for cid in missing])
                return resolve(program.root, program.sources.fetch, limits, program.sources.announce)
        finally:
            web.http.close()

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
        if ran.trap is not None:
            store = self.here.store if self.here.private is None else LayeredStore(self.here.store, self.here.private)
            modules = [(module.cid, module.name) for module in prepared.plan.modules]
            ran = msgspec.structs.replace(ran, trap=located(ran.trap, places_in(store, modules)))
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

    def _failed(self, spec: JobSpec, error: Problem, exit_code: int | None) -> JobResult:
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
