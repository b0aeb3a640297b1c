"""Asking the proof about a release in a process of its own, with limits of time and memory."""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Answer = Literal["accepted", "refused", "traceback", "too long", "too much memory"]

#: Seconds of processor time that a proof may take, whatever its size and for each megabyte; it takes a tenth of that.
_LEAST_SECONDS, _SECONDS_A_MEGABYTE = 2.0, 6.0
#: What it may take on the clock, as a multiple: others work on this machine as well.
_CLOCK = 15


@dataclass(frozen=True)
class Verdict:
    """What the proof said."""

    answer: Answer
    #: Why it was refused, or the traceback.
    message: str = ""
    #: Of processor time.
    seconds: float = 0.0


class Judge:
    """A process that proves releases, one after the other; it is started again after it had to be ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._end()

    def split(self, blob: bytes, remainder: bytes, modules: Mapping[str, bytes]) -> Verdict:
        """What the proof says of a split, as `bacpack verify DIR --against BLOB` would."""
        size = len(blob) + len(remainder) + sum(map(len, modules.values()))
        return self._ask(("split", blob, remainder, dict(modules)), size)

    def folder(self, folder: Path, blobs: list[Path]) -> Verdict:
        """What `bacpack verify DIR --against BLOB...` says of a folder."""
        size = sum(path.stat().st_size for path in [*folder.rglob("*.wasm"), *blobs])
        return self._ask(("folder", folder, blobs), size)

    def _ask(self, question: tuple[Any, ...], size: int) -> Verdict:
        limit = _LEAST_SECONDS + _SECONDS_A_MEGABYTE * size / 1e6
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        write_message(process.stdin, (limit, *question))
        ready, _, _ = select.select([process.stdout], [], [], limit * _CLOCK)
        answer = (
            read_message(process.stdout) if ready else Verdict("too long", f"no answer after {limit * _CLOCK:.0f} s")
        )
        if answer is None:
            answer = Verdict("traceback", f"the process ended with status {process.wait()}")
        if not ready or process.poll() is not None or (answer.answer not in ("accepted", "refused")):
            self._end()
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", "mutation.judge_process"]
            here = Path(__file__).parents[1]
            self._home = tempfile.TemporaryDirectory()
            env = {**os.environ, "BACPACK_HOME": self._home.name}
            self._process = subprocess.Popen(command, cwd=here, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
            self._home.cleanup()


def write_message(stream: Any, what: object) -> None:
    """Send anything to the other process."""
    data = pickle.dumps(what)
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def read_message(stream: Any) -> Any:
    """What the other process sent; None when it is gone."""
    size = stream.read(8)
    return pickle.loads(stream.read(int.from_bytes(size, "little"))) if len(size) == 8 else None
