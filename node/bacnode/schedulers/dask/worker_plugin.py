"""A worker of Dask as a node: it announces the modules that it holds, and runs jobs with them.

Each module is a key in Dask, with its true size. A job is a task that depends on the keys of the modules it needs, so
that Dask's own placement, least expected start, weighs the bytes that would have to move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from dask.typing import Key
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.utils import get_ip, sync
from distributed.worker import get_worker

from bacnode.execution.job import JobSources
from bacnode.runtime.plan import PlannedModule
from bacnode.schedulers.dask import internals, replicas
from bacnode.schedulers.dask.block_server import BlockServer
from bacnode.schedulers.dask.keys import MEMORY, MODULES_CLIENT, PRESENT, RUNS, TOPIC, module_key, resource_of
from bacnode.schedulers.dask.replicas import Replica
from bacnode.schedulers.dask.stored_modules import modules_in, size_of
from bacnode.schedulers.dask.worker_job import Watch, WorkerJobs
from bacnode.schedulers.job_message import JobResult, decode_spec, encode
from bacpack.content.cid.cid import Cid

if TYPE_CHECKING:
    from distributed.worker import Worker

NAME = "bacpack"
#: Of the resource that stands for a proprietary module: a job takes one, and no job is to wait for another's.
_PLENTY = 1_000_000
#: Bytes a second at which modules get ready, until that is known; and the least of which anything is learnt.
BANDWIDTH = 10e6
_MIN_LEARNT_BYTES = 64 << 10
#: Keys that are announced in one message.
_BATCH = 1000


class ModulesPlugin(WorkerPlugin):
    """Makes any worker of Dask one that runs jobs and announces its modules.

    `folder` is its store, by default that of the machine. `url` is where a node gives the store's blocks away; without
    one, the worker does so itself. `announce` is off where all workers share one store.
    """

    name = NAME

    def __init__(
        self,
        folder: str | None = None,
        *,
        cache: str | None = None,
        peers: Sequence[str] = (),
        url: str | None = None,
        announce: bool = True,
        offline: bool = False,
        allow_private: bool = False,
        memory_bytes: int | None = None,
        bandwidth: float | None = None,
        all_features: bool = True,
    ) -> None:
        self._folder, self._cache, self._peers = folder, cache, list(peers)
        self._url, self._announces, self._memory = url, announce, memory_bytes
        self._offline, self._allow_private, self._bandwidth = offline, allow_private, bandwidth or BANDWIDTH
        self._all_features = all_features

    async def setup(self, worker: Worker) -> None:
        """Open the store, and announce what is in it."""
        from bacnode.stores.proprietary import Proprietary, PublicStore
        from bacpack.folders import cache_folder

        folder = self._path()
        cache = Path(self._cache) if self._cache else (folder / "cache" if self._folder else cache_folder())
        proprietary = Proprietary(folder)
        self._worker = worker
        self._store = PublicStore(folder, proprietary)
        self._server: BlockServer | None = None
        if self._url is None and self._announces:
            self._server = BlockServer(self._store, _own_host(worker))
            self._url = self._server.url
        replicas.local_url = self._local_url
        self._announced: set[str] = set()
        #: What each job that fetches is going to bring.
        self._coming: dict[Key, list[str]] = {}
        self._time = internals.ProgramTime(worker)
        self._name = worker.name if isinstance(worker.name, str) else worker.address
        self._jobs = WorkerJobs(
            self._store, proprietary.store, cache, internals.threads_of(worker), self._memory or _memory_of(worker),
            self._name, JobSources(peers=self._peers, offline=self._offline, allow_private=self._allow_private),
            worker.local_directory, all_features=self._all_features,
        )  # fmt: skip
        await self._jobs.open()
        await internals.keep_copies(worker)
        internals.set_bandwidth(worker, self._bandwidth)
        await worker.set_resources(**self.resources(_memory_of(worker)))
        await self._put({PRESENT: None}, {PRESENT: 1})
        if self._announces:
            await self.announce(await asyncio.to_thread(lambda: list(modules_in(self._store))))

    def resources(self, memory_bytes: int) -> dict[str, float]:
        """What the worker offers to jobs: proprietary modules, and memory."""
        from bacnode.stores.proprietary import Proprietary

        proprietary = {resource_of(cid): float(_PLENTY) for cid in Proprietary(self._path()).modules}
        return {**proprietary, RUNS: float(_PLENTY), MEMORY: float(self._memory or memory_bytes)}

    async def teardown(self, worker: Worker) -> None:
        """Give nothing away any more, and end the processes that run programs."""
        if self._server is not None:
            self._server.close()
        await self._jobs.executor.close()

    def transition(self, key: Key, start: str, finish: str, **about: Any) -> None:
        """Keep Dask from learning by keys how fast modules come: it moves a few bytes and counts those of a module."""
        if finish == "memory":
            internals.set_bandwidth(self._worker, self._bandwidth)
            self._time.ended(key)

    async def announce(self, modules: Iterable[tuple[Cid, int]]) -> None:
        """Tell the scheduler of modules that are here now."""
        new = {text: size for cid, size in modules if (text := str(cid)) not in self._announced}
        self._announced |= new.keys()
        names = list(new)
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            urls = [self._url] if self._url else []
            await self._put(
                {module_key(cid): Replica(cid, urls) for cid in batch}, {module_key(cid): new[cid] for cid in batch}
            )

    def withdraw(self, cids: Iterable[str]) -> None:
        """Tell the scheduler of modules that are not here any more, or never came; on the loop's thread."""
        gone = list(cids)
        self._announced -= set(gone)
        if gone:
            internals.let_go(self._worker, map(module_key, gone))

    async def refresh(self) -> None:
        """Look at the store: announce what came, withdraw what was evicted."""
        found = dict(await asyncio.to_thread(lambda: list(modules_in(self._store))))
        coming = {cid for cids in self._coming.values() for cid in cids}
        self.withdraw(self._announced - {str(cid) for cid in found} - coming)
        await self.announce(found.items())

    def run(self, data: bytes, holders: Sequence[Replica]) -> bytes:
        """Run a job, in a thread of the worker."""
        worker, spec = self._worker, decode_spec(data)
        key = worker.get_current_task()
        if not self._announces:  # it may be sent to any worker then, and only this one knows who gave what
            spec = msgspec.structs.replace(spec, fetch_first=False)
        # Known to the scheduler before anything of it runs: what kills this worker is then known to have done so.
        about = {"job": spec.number, "key": key, "worker": worker.address, "name": self._name}
        sync(worker.loop, worker.scheduler.log_event, topic=TOPIC, msg={**about, "what": "task"})
        sync(worker.loop, self._expect, key, spec.modules)

        def on_begin() -> None:
            self._time.running(key)
            worker.log_event(TOPIC, {**about, "what": "program"})

        watch = Watch(
            task=str(key),
            on_lack=lambda: self._leave_pool(key),
            on_ready=lambda modules: self._settle(key, modules),
            on_begin=on_begin,
        )
        try:
            others = {one.cid: [url for url in one.urls if url != self._url] for one in holders}
            result = self._jobs.run(spec, others, watch)
        finally:
            sync(worker.loop, self._give_up, key)
        self._learn(result)
        return encode(result)

    def _leave_pool(self, key: Key) -> None:
        """Have the worker begin the next job while this one's modules come; in the thread of the job."""
        internals.leave_pool(self._worker, key)
        self._worker.loop.add_callback(self._time.only_fetching, key)

    def _learn(self, result: JobResult) -> None:
        """Have Dask know how fast modules get ready here: they are fetched and compiled, not only moved."""
        if result.report is not None and result.moved_bytes > _MIN_LEARNT_BYTES:
            measured = result.moved_bytes / max(result.report["load_ms"] / 1000, 1e-3)
            self._bandwidth = 0.8 * self._bandwidth + 0.2 * measured
            internals.set_bandwidth(self._worker, self._bandwidth)

    async def _expect(self, key: Key, modules: Mapping[str, int]) -> None:
        """Announce what a job is about to bring: others that need it may as well come here as fetch it, too."""
        self._time.fetching(key)
        if self._announces:
            self._coming[key] = [cid for cid in modules if cid not in self._announced]
            await self.announce((Cid.parse(cid), modules[cid]) for cid in self._coming[key])

    async def _settle(self, key: Key, modules: Sequence[PlannedModule]) -> None:
        """Announce what a job has brought, and withdraw what did not come."""
        if self._announces:
            cids = [Cid.parse(module.cid) for module in modules if module.cid not in self._announced]
            await self.announce([(cid, size) for cid in cids if (size := size_of(cid, self._store)) is not None])
            await self._give_up(key)

    async def _give_up(self, key: Key) -> None:
        """Withdraw what a job was to bring and did not."""
        self._time.over(key)
        self.withdraw(cid for cid in self._coming.pop(key, ()) if size_of(Cid.parse(cid), self._store) is None)

    async def _put(self, data: Mapping[Key, object], sizes: dict[str, int]) -> None:
        await internals.hold(self._worker, data, sizes, MODULES_CLIENT)

    def _path(self) -> Path:
        from bacpack.folders import data_folder

        return Path(self._folder) if self._folder else data_folder()

    def _local_url(self, cid: str) -> str | None:
        """Where this process gives a module, if it does."""
        return self._url if self._url is not None and self._store.has(Cid.parse(cid)) else None


class EnsurePlugin(WorkerPlugin):
    """Gives a worker that runs no jobs yet what it needs for them, and leaves alone one that does."""

    name = "bacpack-ensure"

    def __init__(self, **options: Any) -> None:
        self._options = options

    async def setup(self, worker: Worker) -> None:
        """Add the plugin unless it is there."""
        if NAME not in worker.plugins:
            await worker.plugin_add(ModulesPlugin(**self._options), name=NAME)


def run_job(data: bytes, holders: Sequence[Replica], _present: object = None) -> bytes:
    """Run a job on the worker that this is called on."""
    worker = get_worker()
    plugin = worker.plugins.get(NAME)
    if not isinstance(plugin, ModulesPlugin):
        raise RuntimeError("this worker runs no bacpack jobs: its ModulesPlugin is missing")
    return plugin.run(data, holders)


def _memory_of(worker: Worker) -> int:
    import psutil

    return internals.memory_of(worker) or int(psutil.virtual_memory().total)


def _own_host(worker: Worker) -> str:
    host = worker.address.partition("://")[2].rpartition(":")[0].strip("[]")
    return host or str(get_ip())
