"""The processes of a node, as the node sees them: started, talked with, watched, and killed by number."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from bacnode.execution.channel import pack, receive
from bacnode.execution.grants import ALL_FEATURES
from bacnode.execution.messages import (
    FromChild,
    Located,
    MissingModules,
    Prepare,
    Prepared,
    Ran,
    Ready,
    Run,
    Stop,
    ToChild,
)

#: Seconds that a process has to start.
START_SECONDS = 60
#: Seconds that one has to end which says nothing more.
END_SECONDS = 1

#: Without it, the memory of a thread that has ended is kept for others that may never come.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}

Answer = Prepared | MissingModules | Located | Ran


class LostError(Exception):
    """A process ended before it answered; `why` says so as a clause, `alone` that nothing else was under way in it."""

    def __init__(self, why: str, *, alone: bool, code: str | None = None, killed: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.alone = alone
        #: Whether the node killed it, and the limit for which, if it was for one.
        self.killed = killed
        self.code = code


class ChildProcess:
    """One process, and the questions that it has not answered."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._ready = asyncio.Event()
        #: Why the node killed it, and for which limit.
        self._killed: tuple[str, str | None] | None = None
        self.is_gone = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, module: str, *folders: Path, all_features: bool) -> ChildProcess:
        """Start `python -m module NODE_PID FOLDER…` and wait until it is ready; raises `LostError`."""
        arguments = [os.getpid(), *folders, *([ALL_FEATURES] if all_features else [])]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", module, *map(str, arguments),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=_ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        child = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child._ready.wait()
        except TimeoutError:
            child.kill("it did not start")
        if not child.is_usable:
            await child.close()
            raise LostError("a process of the node did not start", alone=True)
        return child

    @property
    def is_usable(self) -> bool:
        """Whether it may be asked something: a process that was killed takes a moment to be gone."""
        return not self.is_gone and self._killed is None

    @property
    def jobs(self) -> int:
        """Questions that are not answered."""
        return len(self._waiting)

    async def request(self, question: Prepare | Run | ToChild, job: str) -> Answer:
        """Return the answer to a question; raises `LostError`."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self.is_usable:
            raise LostError("a process of the node ended", alone=False)
        self._waiting[job] = future
        try:
            self.send(question)
            return await future
        finally:
            self._waiting.pop(job, None)

    def send(self, message: ToChild) -> None:
        """Send a message that has no answer."""
        assert self._process.stdin
        if not self.is_gone:
            # Where its end of the pipe is closed already, whoever waits for an answer is told soon.
            with contextlib.suppress(RuntimeError, OSError):
                self._process.stdin.write(pack(message))

    def stop(self, job: str) -> None:
        """Have a worker end a job."""
        self.send(Stop(job=job))

    def kill(self, why: str, code: str | None = None) -> None:
        """End the process at once."""
        if not self.is_gone:
            self._killed = self._killed or (why, code)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End the process and wait until it has ended."""
        self.kill("the node ends")
        await self._reader

    def private_bytes(self) -> int:
        """Memory that is the process's own, without files that it has mapped."""
        try:
            memory = psutil.Process(self.pid).memory_info()
        except psutil.Error:
            return 0
        return int(memory.rss - memory.shared)

    async def _read(self) -> None:
        assert self._process.stdout and self._process.stdin
        while (message := await receive(self._process.stdout)) is not None:
            self._take(message)
        # It is gone, or talks nonsense. To kill one that is gone would take its status away from who waits for it.
        try:
            async with asyncio.timeout(END_SECONDS):
                status = await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            status = await self._process.wait()
        self.is_gone = True
        self._process.stdin.close()
        self._ready.set()
        why, code = self._killed or (f"a process of the node ended ({_how(status)})", None)
        alone = len(self._waiting) == 1
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LostError(why, alone=alone, code=code, killed=self._killed is not None))

    def _take(self, message: FromChild) -> None:
        if isinstance(message, Ready):
            self._ready.set()
            return
        future = self._waiting.get(message.job)
        if future is not None and not future.done():
            future.set_result(message)


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


class ProcessSupervisor:
    """Keeps one process: started when it is needed, again when it is gone, ended when it was idle for a while."""

    def __init__(self, start: Callable[[], Awaitable[ChildProcess]], idle_seconds: float) -> None:
        self._start = start
        self._idle_seconds = idle_seconds
        self._starting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.child: ChildProcess | None = None
        #: Those before it that were killed and may not be gone yet.
        self._former: list[ChildProcess] = []

    @property
    def running(self) -> ChildProcess | None:
        """The process, if there is one."""
        return self.child if self.child is not None and self.child.is_usable else None

    async def get(self) -> ChildProcess:
        """Return the process, running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (child := self.running) is None:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.create_task(self._begin())
            # One who waits for it and is cancelled must not leave it half started.
            await asyncio.shield(self._starting)
        return child

    def rest(self) -> None:
        """Say that it may be idle: if nothing comes, it ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._end)

    async def close(self) -> None:
        """End the process."""
        if self._timer is not None:
            self._timer.cancel()
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        for child in (*self._former, *([self.child] if self.child is not None else [])):
            await child.close()

    async def _begin(self) -> None:
        if self.child is not None:
            self._former = [child for child in (*self._former, self.child) if not child.is_gone]
        self.child = await self._start()

    def _end(self) -> None:
        self._timer = None
        if self.child is not None and self.child.jobs == 0:
            self.child.kill("it is idle")
