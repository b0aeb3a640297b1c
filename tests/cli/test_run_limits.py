"""`bacpack run` with a limit of time or memory, or interrupted: a program ends when it must, and not before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.running import LOOP, PROGRAMS, write
from node.harness import Command, assemble
from waiting import started, until

#: Reads from stdin once.
READER = assemble(r"""(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\10\00\00\00")
  (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))""")
#: Ends with 0 once memory can grow no more, having written to each new page.
BOMB = assemble("""(module (memory (export "memory") 1) (func (export "_start") (local $page i32)
  (loop $more
    (local.set $page (memory.grow (i32.const 1)))
    (if (i32.ne (local.get $page) (i32.const -1))
      (then (i32.store (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1)) (br $more))))))""")

#: Runs a command, and prints the KiB that it took at most.
TELL_MEMORY = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_a_time_limit_stops_an_endless_loop_promptly(command: Command, folder: Path) -> None:
    program = write(folder / "loop.wasm", LOOP)
    started = time.monotonic()
    text = command.fails(124, "time-limit", "run", program, "--timeout", "0.3")
    assert "it ran longer than 0.3 s" in text
    assert time.monotonic() - started < 10


def test_a_time_limit_stops_a_program_that_waits_for_input(command: Command, folder: Path) -> None:
    program = write(folder / "reader.wasm", READER)
    line = command.line("run", program, "--timeout", "0.3")
    with started(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=command.environment) as running:
        assert running.stderr is not None
        assert running.wait(timeout=10) == 124
        assert running.stderr.read().startswith(b"error[time-limit]")


def test_a_program_that_is_done_in_time_is_not_stopped(command: Command) -> None:
    assert command("run", "--timeout", "30", PROGRAMS["wordcount"], stdin=b"one\n").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("name", "module"), [("loop.wasm", LOOP), ("reader.wasm", READER)])
def test_an_interrupt_ends_the_program(
    command: Command, folder: Path, name: str, module: bytes, number: signal.Signals
) -> None:
    report = folder / "run.json"
    line = command.line("run", write(folder / name, module), "--report", report)
    with started(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=command.environment) as running:
        wait_for_a_temporary_report(folder)
        running.send_signal(number)
        assert running.stderr is not None
        assert running.wait(timeout=10) == 128 + number
        assert running.stderr.read().split() == [b"interrupted"]
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_jobs_that_are_ended_leave_nothing_behind(command: Command, folder: Path, number: signal.Signals) -> None:
    temporary = folder / "tmp"
    temporary.mkdir()
    own = {**command.environment, "TMPDIR": str(temporary)}
    line = command.line("submit", write(folder / "loop.wasm", LOOP))
    with started(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=own) as running:
        until(lambda: list(temporary.rglob("bacpack-job-*")), "the job runs")
        running.send_signal(number)
        assert running.wait(timeout=30) == 128 + number
        assert running.stderr is not None and b"Traceback" not in running.stderr.read()
    until(lambda: not list(temporary.iterdir()), "nothing is left")


def wait_for_a_temporary_report(folder: Path) -> None:
    """The report is opened just before the program runs."""
    until(lambda: list(folder.glob(".bacpack-*")), "the report is opened")


def test_a_memory_bomb_is_stopped(command: Command, folder: Path) -> None:
    program = write(folder / "bomb.wasm", BOMB)
    # Told by a process that is small: what the parent of one weighs counts as its own until it runs its program.
    small = [sys.executable, "-c", TELL_MEMORY, *command.line("run", program, "--max-memory", "32MiB")]
    done = subprocess.run(small, env=command.environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400 * 1024


def test_a_memory_that_starts_beyond_the_limit_ends_the_program(command: Command, folder: Path) -> None:
    command.fails(134, "memory-limit", "run", write(folder / "bomb.wasm", BOMB), "--max-memory", "1KiB")


def test_a_program_and_its_split_say_alike_that_they_need_more_memory(command: Command, folder: Path) -> None:
    split = folder / "out"
    blobs = [PROGRAMS["wordcount"], PROGRAMS["checksum"]]
    assert command("split", *blobs, "-o", split).returncode == 0
    for limit in ("10", "1MiB"):
        texts = {command.fails(134, "memory-limit", "run", "--max-memory", limit, path)
                 for path in (PROGRAMS["wordcount"], split / "wordcount.wasm")}  # fmt: skip
        assert texts == {
            "error[memory-limit]: the program needs more memory than --max-memory allows to start\n"
            "hint: give it more memory with --max-memory\n"
        }
