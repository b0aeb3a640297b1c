"""What tests of jobs share: a node that is given programs and asked what became of them."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from bacpack.content.cid.cid import Cid
from node.serving import Answer, Node, keep
from waiting import until


class JobNode(Node):
    """A node whose store tests put programs into."""

    def __init__(self, store: Path, *arguments: object, **more: Any) -> None:
        super().__init__(store, "--log-format", "json", *arguments, **more)

    def add(self, module: bytes) -> str:
        """Put a module into the store; return its CID."""
        cid = Cid.of_raw(module)
        keep(self.store, {cid: module})
        return str(cid)

    def submit(self, ref: str | bytes, **more: Any) -> str:
        """Have a program run; return the job's name."""
        answer = self.try_submit(ref, **more)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def try_submit(self, ref: str | bytes, **more: Any) -> Answer:
        body = {"ref": self.add(ref) if isinstance(ref, bytes) else ref, **more}
        return self.post("/api/v1/jobs", body)

    def job(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/v1/jobs/{job}").json
        return found

    def ended(self, job: str) -> dict[str, Any]:
        """Wait until a job has ended."""
        until(
            lambda: self.get(f"/api/v1/jobs/{job}?wait=10").json["finished"], lambda: f"the job ends: {self.job(job)}"
        )
        return self.job(job)

    def run(self, ref: str | bytes, **more: Any) -> dict[str, Any]:
        return self.ended(self.submit(ref, **more))

    def until(self, job: str, state: str) -> dict[str, Any]:
        """Wait until a job is in a state."""
        found = self.job(job)

        def is_there() -> bool:
            nonlocal found
            found = self.job(job)
            assert found["state"] == state or not found["finished"], found
            return bool(found["state"] == state)

        until(is_there, lambda: f"the job is {state}: {found}", pause=0.01)
        return found

    def until_printed(self, job: str, text: bytes) -> None:
        """Wait until a running job has printed something."""
        printed = lambda: self.get(f"/api/v1/jobs/{job}/logs").body  # noqa: E731
        until(lambda: text in printed(), lambda: f"{text!r} is printed: {printed()!r}, {self.job(job)}", pause=0.01)

    def children(self, module: str = "") -> list[int]:
        """The processes that the node has started and that are running a module."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                line = (folder / "cmdline").read_bytes()
            except (OSError, IndexError, ValueError):
                continue
            if parent == self.process.pid and module.encode() in line:
                found.append(int(folder.name))
        return found

    def worker(self) -> int:
        """The one worker there is."""
        (pid,) = self.children("bacnode.execution.worker_process")
        return pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the node; all that it says is a log of what happened."""
        if self.process.poll() is None:
            out, err = self.stop()
            assert (self.process.returncode, out) == (0, "") or error is not None, (out, err)
            for line in err.splitlines():
                # What the command says before the node runs.
                if line.startswith("note:"):
                    continue
                assert json.loads(line)["level"] == "warning" or error is not None, err

    def die(self) -> None:
        """Kill the node as a power cut would, but for what is in the system's memory."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20)


_CHILD = """
import importlib, sys
sys.argv = sys.argv[4:]
module = importlib.import_module(sys.argv[0])
{code}
module.main()
"""


def children_with(folder: Path, code: str) -> str:
    """Return what a node begins with (`first`) so that its processes run `code` before what they are: `module`."""
    script, command = folder / "child.py", folder / "python"
    script.write_text(_CHILD.format(code=code))
    # It is called as Python is: `-I -m MODULE ARGUMENTS`.
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{script}" - "$@"\n')
    command.chmod(0o700)
    return f"import sys; sys.executable = {str(command)!r}"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def gone(pid: int) -> bool:
    """Wait until a process is no more."""
    until(lambda: not is_running(pid), f"the process {pid} ends", pause=0.01)
    return True


def dump(value: object) -> bytes:
    return json.dumps(value).encode()
