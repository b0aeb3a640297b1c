"""Running one job in this process: modules from the store or from who holds them, verified; then the engine.

Each thread has an engine of its own, since what ends one program in an engine ends all of them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from bacnode.compiled import CompileCache
from bacnode.execute import Finished, Loaded, load, run
from bacnode.jobs.folders import JobFolder
from bacnode.jobs.problems import problem
from bacnode.jobs.schema import safe_path
from bacnode.limits import LoadLimits, RunLimits
from bacnode.programs import open_program
from bacnode.report import encode_report
from bacnode.runtime import Job, Runtime, Streams
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
#: Sources whose bytes came over the network.
_FAR = frozenset(("peer", "gateway", "kubo", "url"))


@dataclass(slots=True)
class RunHere:
    """What jobs of this process use. `private` holds what may be run here and not be given away."""

    store: BlockStore
    cache: CompileCache | None
    peers: Sequence[str] = ()
    private: BlockStore | None = None
    offline: bool = False
    allow_private: bool = False
    name: str = ""
    _own: threading.local = field(default_factory=threading.local)

    def run(self, spec: JobSpec, holders: MakeSource | None = None) -> tuple[JobResult, list[tuple[Cid, int]]]:
        """Run a job; return how it ended, and the modules of it that the store now holds."""
        kept: list[tuple[Cid, int]] = []
        try:
            with tempfile.TemporaryDirectory(prefix="bacpack-job-") as temporary:
                return self._run(spec, holders, JobFolder(Path(temporary, "job")), kept), kept
        except BacpackError as error:
            return self._failed(spec, error), kept
        except Exception as error:
            # A fault of ours is an answer, too: the job would kill worker after worker otherwise.
            failure = {"code": "worker-failed", "message": repr(error), "hint": "report this", "details": {}}
            return JobResult(number=spec.number, ref=spec.ref, state="failed", error=failure, node=self.name), kept

    def _run(
        self, spec: JobSpec, holders: MakeSource | None, folder: JobFolder, kept: list[tuple[Cid, int]]
    ) -> JobResult:
        loaded, runtime = self._load(spec, holders, kept)
        folder.path.mkdir(mode=0o700)
        folder.root.mkdir()
        for stream in (folder.stdin, folder.stdout, folder.stderr):
            stream.touch()
        for file in spec.files:
            _give(folder.root, file)
        job = Job(
            arguments=[spec.name, *spec.args],
            environment=spec.env,
            folders=[(folder.root, "/"), *((Path(host), guest) for host, guest in spec.folders)],
            invoke=spec.invoke,
            limits=RunLimits(spec.seconds, spec.memory_bytes),
            streams=Streams(folder.stdin, folder.stdout, folder.stderr),
        )
        finished = run(spec.ref, loaded, runtime, job)
        if finished.error is not None and finished.error.code == "time-limit":
            # It may still run, in the host, with this engine.
            self._own.runtime = None
        return self._ended(spec, folder, finished)

    def _load(self, spec: JobSpec, holders: MakeSource | None, kept: list[tuple[Cid, int]]) -> tuple[Loaded, Runtime]:
        web = Web(
            [*self.peers, *(peer for peer in spec.peers if peer not in self.peers)],
            offline=self.offline, allow_private=self.allow_private,
        )  # fmt: skip
        if holders is not None and not self.offline:
            web.remotes.insert(0, holders(web.transport))  # type: ignore[arg-type]  # as far as programs use them
        try:
            from bacnode.jobs.holding import LayeredStore

            store = self.store if self.private is None else LayeredStore(self.store, self.private)
            runtime = self._runtime()
            loaded = load(open_program(spec.target, store, web, LoadLimits()), runtime, LoadLimits())
        finally:
            web.transport.close()
        for node in loaded.graph.nodes:
            fetched = node.fetched
            if fetched.cid is None or (self.private is not None and self.private.has(fetched.cid)):
                continue
            cid = keep_one(fetched, self.store)
            if cid is not None:
                kept.append((cid, len(fetched.data)))
        return loaded, runtime

    def _runtime(self) -> Runtime:
        runtime: Runtime | None = getattr(self._own, "runtime", None)
        if runtime is None:
            runtime = self._own.runtime = Runtime(interruptible=True, cache=self.cache)
        runtime.keep_at_most(512)
        return runtime

    def _ended(self, spec: JobSpec, folder: JobFolder, finished: Finished) -> JobResult:
        report = json.loads(encode_report(finished.report))
        out, err = folder.cut(spec.output_bytes)
        error = problem(finished.error) if finished.error else None
        files = folder.collect(spec.outputs, MAX_FILES, MAX_FILE_BYTES)
        return JobResult(
            number=spec.number,
            ref=spec.ref,
            state="done" if error is None else "failed",
            exit_code=finished.report.exit_code,
            error=error,
            results=list(finished.results),
            stdout=folder.stdout.read_bytes()[:out],
            stderr=folder.stderr.read_bytes()[:err],
            files=[KeptFile(path=file.path, data=(folder.outputs / file.path).read_bytes()) for file in files],
            node=self.name,
            report=report,
            moved_bytes=sum(module.bytes for module in finished.report.modules if module.source in _FAR),
        )

    def _failed(self, spec: JobSpec, error: BacpackError) -> JobResult:
        return JobResult(
            number=spec.number, ref=spec.ref, state="failed", exit_code=error.exit_status, error=problem(error),
            node=self.name,
        )  # fmt: skip


def check_files(files: Sequence[GivenFile]) -> None:
    """Raise `InputError` (`bad-job`) where a file has a path that none can have."""
    for file in files:
        safe_path(file.path)


def _give(root: Path, file: GivenFile) -> None:
    target = root.joinpath(*safe_path(file.path))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if file.data is not None:
            target.write_bytes(file.data)
        elif file.host is not None:
            shutil.copyfile(file.host, target)
    except OSError as error:
        raise InputError(
            "cannot-give-file", f"the file `{file.path}` cannot be given to the program: {error}", hint="check its path"
        ) from error
