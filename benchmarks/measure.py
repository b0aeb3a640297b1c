"""Running commands in turn and comparing them: ratios hold where seconds drift."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: The installed command, run as a person runs it.
BACPACK = str(Path(sys.executable).with_name("bacpack"))
#: How often the memory of a running command is looked at.
SAMPLE_SECONDS = 0.1


class LeftOutError(Exception):
    """Something a benchmark needs is not on this machine: it is left out, and the message says why."""


@dataclass(frozen=True)
class Run:
    """One finished command: wall-clock and processor seconds, and what it printed."""

    wall: float
    cpu: float
    stdout: str
    #: Of all its processes together, with what they share counted once; 0 where that cannot be told.
    peak_bytes: int = 0


def run(command: Sequence[str], *, memory: bool = False) -> Run:
    """Run a command to its end; a failure stops the benchmark."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watcher = _Memory(process.pid) if memory else None
    stdout, stderr = process.communicate()
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = watcher.stop() if watcher else 0
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {process.returncode}:\n{(stderr or stdout)[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, stdout, peak)


def in_turn(commands: Sequence[Sequence[str]], rounds: int) -> list[list[Run]]:
    """Run the commands one after the other, round by round, after a round that does not count."""
    for command in commands:
        run(command)
    results: list[list[Run]] = [[] for _ in commands]
    for _ in range(rounds):
        for command, runs in zip(commands, results, strict=True):
            runs.append(run(command))
    return results


def timed_in_turn(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each of the actions, round by round; every second round goes through them backwards."""
    seconds: list[list[float]] = [[] for _ in actions]
    order = list(range(len(actions)))
    for _ in range(rounds):
        for position in order:
            started = time.perf_counter()
            actions[position]()
            seconds[position].append(time.perf_counter() - started)
        order.reverse()
    return seconds


class Busy:
    """How much the rest of the machine did since this was made."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._at = time.perf_counter()
        self._before = _busy_seconds(), _own_seconds()

    def __str__(self) -> str:
        wall = time.perf_counter() - self._at
        load = f"Load average when it began: {self._load:.1f}"
        if self._before[0] is None or (now := _busy_seconds()) is None:
            return f"{load}."
        others = max(now - self._before[0] - (_own_seconds() - self._before[1]), 0) / wall
        return f"{load}; others took {others:.2f} of {processors()} cores meanwhile."


def _busy_seconds() -> float | None:
    """What all processors together have worked since the machine started."""
    with suppress(OSError):
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        idle = fields[3] + fields[4]
        return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")
    return None


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class _Memory:
    """Watches the memory of a process and its children until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, sum(map(_memory_bytes, _with_children(self._pid))))


def _with_children(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        with suppress(OSError):
            tasks = Path(f"/proc/{process}/task").iterdir()
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return found


def _memory_bytes(pid: int) -> int:
    """What a process has in memory, and of what it shares with others its part."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column is text, the others are figures."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """What this machine is."""
    model = platform.processor() or platform.machine()
    memory = ""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {pages / 2**30:.0f} GiB of memory"
    return f"{model}, {processors()} cores{memory}, {platform.system()}, Python {platform.python_version()}"
