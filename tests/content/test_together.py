"""Publishing, fetching, reading and collecting garbage in one store at the same time, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import soak
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.content.store.pins import Pins
from commands import command
from content.harness import Bacpack
from node.harness import assemble
from node.harness import write_release as write_program
from publish.releases import write_release
from waiting import PATIENCE, joined, started, until

#: How long they work side by side.
SECONDS = 5.0 * soak.TIMES


class Loops:
    """Runs commands over and over, each kind in a thread of its own, until time is up or one of them fails."""

    def __init__(self, bacpack: Bacpack) -> None:
        self.bacpack = bacpack
        self.failures: list[str] = []
        self.rounds: dict[str, int] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, once: Callable[[int], None]) -> None:
        self.rounds[name] = 0

        def loop() -> None:
            while not self._stop.is_set():
                try:
                    once(self.rounds[name])
                except BaseException as error:
                    self.failures.append(f"{name}, round {self.rounds[name]}: {error!r}"[:2000])
                    self._stop.set()
                self.rounds[name] += 1

        self._threads.append(threading.Thread(target=loop))

    def run(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Run for so long, and on until enough has happened."""
        for thread in self._threads:
            thread.start()
        self._stop.wait(seconds)
        deadline = time.monotonic() + PATIENCE
        while not enough() and time.monotonic() < deadline and not self._stop.wait(0.1):
            pass
        self._stop.set()
        for thread in self._threads:
            joined(thread, "the last round of each ends")
        assert self.failures == []


@pytest.mark.long
def test_nothing_pinned_is_lost_while_all_work_at_once(bacpack: Bacpack, tmp_path: Path) -> None:
    # One release stays pinned all the time and is read; half of its blocks are also in those that come and go.
    write_release(tmp_path / "kept", modules=24, seed=1)
    kept = bacpack.ok("publish", tmp_path / "kept")["root"]
    cars = []
    for number in range(2):
        write_release(tmp_path / f"car{number}", modules=24, seed=100 + number)
        cars.append(tmp_path / f"c{number}.car")
        bacpack.ok("pack", tmp_path / f"car{number}", "-o", cars[-1])
    for seed in (1, 2, 3):
        write_release(tmp_path / f"passing{seed}", apps=5, modules=24 + seed, seed=seed)
    write_release(tmp_path / "large", modules=400, module_bytes=20_000, seed=9)
    module = assemble('(module (func (export "say") (result i32) i32.const 7))')
    text = """(module (import "{}" "say" (func $say (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (call $say))))"""
    program = write_program(tmp_path / "program", assemble(text.format(Cid.of_raw(module))), module)
    runnable = bacpack.ok("publish", program)["apps"]["app"]
    loops = Loops(bacpack)
    freed: list[int] = []
    killed: list[int] = []

    def publish(count: int) -> None:
        bacpack.ok("publish", tmp_path / f"passing{count % 3 + 1}")
        bacpack.ok("pin", "rm", f"passing{count % 3 + 1}")

    def fetch(count: int) -> None:
        root = bacpack.ok("fetch", cars[count % 2])["roots"][0]
        # Pinned, it is there whole whatever else goes on.
        assert bacpack.ok("verify", root)["cid"] == root
        bacpack.ok("pin", "rm", root)

    def read(count: int) -> None:
        assert bacpack.ok("verify", kept)["blocks"] > 24
        assert bacpack.ok("pin", "verify", "kept")["pins"] == 1

    def run(count: int) -> None:
        done = bacpack.run("run", "--offline", runnable)
        assert (done.returncode, done.stderr) == (7, "")

    def collect(count: int) -> None:
        done = bacpack.ok("gc")
        assert done["missing"] == []
        freed.append(done["deleted_blocks"])

    def kill_a_writer(count: int) -> None:
        line = command("publish", tmp_path / "large")
        with started(line, env=bacpack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as writer:
            writes = lambda: writer.poll() is not None or _is_writing(bacpack.home, writer.pid)  # noqa: E731
            until(writes, "a publish writes to the store", pause=0.002)
            writer.send_signal(signal.SIGKILL)
            writer.wait(PATIENCE)
            if writer.returncode == -signal.SIGKILL:
                killed.append(count)
        assert "large" not in [pin["name"] for pin in bacpack.ok("pin", "ls")["pins"]]

    for once in (publish, fetch, read, run, collect, kill_a_writer):
        loops.add(once.__name__, once)
    loops.run(SECONDS, lambda: min(loops.rounds.values()) > 1 and bool(killed) and sum(freed) > 50)
    assert min(loops.rounds.values()) > 1, loops.rounds
    assert killed
    assert sum(freed) > 50, freed
    # In the end the store is what its pins keep, and nothing besides.
    bacpack.ok("gc")
    store = BlockStore(bacpack.home)
    pins = Pins(bacpack.home).all()
    assert [pin.name for pin in pins] == ["kept", "app"]
    blocks = sum(check_blocks(store, pin.cid).blocks for pin in pins)
    assert bacpack.ok("pin", "verify")["blocks"] == len(list(store)) == blocks
    assert not list((bacpack.home / "blocks" / "tmp").iterdir())


def _is_writing(home: Path, pid: int) -> bool:
    """Whether a process has a file open that it writes to the store."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if link.readlink().is_relative_to(home / "blocks" / "tmp"):
                    return True
    return False
