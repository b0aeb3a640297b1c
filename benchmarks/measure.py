"""Running commands in turn and comparing them: ratios hold where seconds drift."""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: The installed command, run as a person runs it.
BACPACK = str(Path(sys.executable).with_name("bacpack"))


@dataclass(frozen=True)
class Run:
    """One finished command: wall-clock and processor seconds, and what it printed."""

    wall: float
    cpu: float
    stdout: str


def run(command: Sequence[str]) -> Run:
    """Run a command to its end; a failure stops the benchmark."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, done.stdout)


def in_turn(commands: Sequence[Sequence[str]], rounds: int) -> list[list[Run]]:
    """Run the commands one after the other, round by round, after a round that does not count."""
    for command in commands:
        run(command)
    results: list[list[Run]] = [[] for _ in commands]
    for _ in range(rounds):
        for command, runs in zip(commands, results, strict=True):
            runs.append(run(command))
    return results


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """What this machine is."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    import os

    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"
