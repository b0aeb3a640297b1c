"""The worker of Dask that runs beside a node, as a process of its own: started anew when it ends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Self

import msgspec

log = logging.getLogger("bacnode.schedulers")

#: Seconds before a worker that ended is started again: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: Seconds that a worker has to end.
GRACE_SECONDS = 10


class WorkerSupervisor:
    """Keeps a worker running until it is closed; `options` are those of `worker_process.WorkerOptions`."""

    def __init__(self, scheduler: str, options: dict[str, object]) -> None:
        self._line = [
            sys.executable, "-m", "bacnode.schedulers.dask.worker_main", scheduler,
            msgspec.json.encode(options).decode(),
        ]  # fmt: skip
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="dask-worker", daemon=True)

    def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            # It makes its temporary files there, and may be killed.
            with tempfile.TemporaryDirectory(prefix="bacpack-beside-", ignore_cleanup_errors=True) as scratch:
                pause = FIRST_PAUSE if self._run(scratch) else pause
            self._closing.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _run(self, scratch: str) -> bool:
        """Run the worker until it ends; return whether it said that it was ready."""
        with self._lock:
            if self._closing.is_set():
                return False
            # Its standard input closes when this process ends, however that comes: then it ends as well.
            self._process = process = subprocess.Popen(
                self._line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": scratch},
            )  # fmt: skip
        assert process.stdout is not None
        ready = bool(process.stdout.readline())
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if not self._closing.is_set():
            log.warning("the worker of Dask ended", extra={"about": {"status": process.returncode}})
        return ready

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._closing.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(GRACE_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
