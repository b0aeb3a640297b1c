"""How long work shows how far it is: a bar on a terminal, lines elsewhere, nothing on stdout."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bacpack.cli.terminal import progress
from bacpack.cli.terminal.progress import Progress, Style
from bacpack.content.car import car_chunks
from bacpack.content.cid.cid import Cid
from commands import command
from waiting import PATIENCE, joined


class Reader:
    """Reads what comes from a descriptor, as it comes."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except OSError:  # what a terminal says when the last process has closed it
                data = b""
            with self._changed:
                self.text += data.decode()
                self._ended = not data
                self._changed.notify_all()
            if not data:
                return

    def until(self, pattern: str) -> re.Match[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended or re.search(pattern, self.text), PATIENCE), self.text
            found = re.search(pattern, self.text)
        assert found, self.text
        return found

    def all(self) -> str:
        joined(self._thread, "the output ends")
        return self.text


class Watched:
    """A running command, its stderr a terminal or a pipe, its stdout a pipe."""

    def __init__(self, home: Path, *arguments: object, terminal: bool) -> None:
        ours, theirs = pty.openpty() if terminal else os.pipe()
        environment = {**os.environ, "BACPACK_HOME": str(home), "COLUMNS": "100", "TERM": "xterm"}
        line = command(*arguments)
        self.process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True)
        os.close(theirs)
        self.stderr = Reader(ours)

    def finish(self) -> str:
        """Wait for the end, which must be a good one; return what came on stdout."""
        stdout, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, self.stderr.all()
        self.stderr.all()
        return stdout


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the store as a publish does that goes on and on."""
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def test_a_terminal_shows_what_is_awaited_and_from_whom_and_json_stays_alone(tmp_path: Path) -> None:
    with locked(tmp_path):
        gc = Watched(tmp_path, "gc", "--json", terminal=True)
        gc.stderr.until("waiting for the end of a publish or fetch from another bacpack")
    assert json.loads(gc.finish())["deleted_blocks"] == 0
    # The bar is taken off again: the last thing done is to clear its line.
    assert gc.stderr.text.rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize("arguments", [["--quiet"], ["--progress", "quiet"]])
def test_nothing_is_shown_when_it_is_not_wanted(tmp_path: Path, arguments: list[str]) -> None:
    with locked(tmp_path):
        gc = Watched(tmp_path, "gc", *arguments, terminal=True)
        if "--quiet" not in arguments:
            gc.stderr.until("waiting for a publish or fetch to end")  # a note, which is no progress
        with pytest.raises(subprocess.TimeoutExpired):
            gc.process.wait(progress._BAR_AFTER + 0.5)
    gc.finish()
    assert "collecting garbage" not in gc.stderr.text


class Drip:
    """A CAR file that comes through a pipe, one block at a time."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self.root = Cid.of_raw(b"block 0")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        def blocks() -> Iterator[tuple[Cid, bytes]]:
            count = 0
            while not self._stop.wait(0.01):
                block = b"block %d" % count
                yield Cid.of_raw(block), block
                count += 1

        with self._path.open("wb", buffering=0) as file:
            for chunk in car_chunks([self.root], blocks()):
                file.write(chunk)

    def __enter__(self) -> Drip:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        joined(self._thread, "the writer ends")


def test_a_terminal_gets_a_bar_with_bytes_and_rate(tmp_path: Path) -> None:
    with Drip(tmp_path / "slow.car") as drip:
        verify = Watched(tmp_path / "home", "verify", tmp_path / "slow.car", "--json", terminal=True)
        verify.stderr.until(r"checking .*[\d.]+ K?B, [\d.]+ K?B/s")
    assert json.loads(verify.finish())["cid"] == str(drip.root)
    assert verify.stderr.text.count("\n") == 1, "the bar is one line that is drawn again, and left once at the end"


def test_a_pipe_gets_plain_lines_now_and_then(tmp_path: Path) -> None:
    began = time.monotonic()
    with Drip(tmp_path / "slow.car") as drip:
        verify = Watched(tmp_path / "home", "verify", tmp_path / "slow.car", "--json", terminal=False)
        verify.stderr.until(r"checking \S+slow.car: [\d.]+ K?B, [\d.]+ K?B/s\n")
    assert time.monotonic() - began > progress._LINE_EVERY
    assert json.loads(verify.finish())["cid"] == str(drip.root)
    assert "\x1b" not in verify.stderr.text
    assert verify.stderr.text.count("\n") <= (time.monotonic() - began) / progress._LINE_EVERY


def test_a_variable_asks_for_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACPACK_GC_PROGRESS", "tty")
    with locked(tmp_path):
        gc = Watched(tmp_path, "gc", terminal=False)
        gc.stderr.until("\x1b.*waiting for the end of a publish or fetch from another bacpack")
    gc.finish()


Shown = Callable[[Style, int | None], Progress]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Progress that shows everything at once."""
    for name in ("_BAR_AFTER", "_LINE_AFTER", "_BAR_EVERY", "_LINE_EVERY"):
        monkeypatch.setattr(progress, name, 0.0)
    return lambda style, total: Progress("sending", total, style)


def test_lines_say_how_much_of_how_much(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    show = shown("plain", 50_000_000)
    show("counting")
    show(1_000_000, "1 of 9 blocks")
    show.add(24_000_000)
    show.end()
    show("too late")
    out, err = capsys.readouterr()
    assert out == ""
    first, second, third = err.splitlines()
    assert first == "sending: counting"
    assert re.fullmatch(r"sending: 1\.0 MB of 50\.0 MB, [\d.]+ [KMG]?B/s, 1 of 9 blocks", second)
    assert re.fullmatch(r"sending: 25\.0 MB of 50\.0 MB, [\d.]+ [KMG]?B/s, 1 of 9 blocks", third)


def test_a_bar_of_a_known_total_fills(
    shown: Shown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")  # of a dumb one only the last line is shown
    show = shown("tty", 1000)
    show(250)
    show(1000)
    show.end()
    quarter, full = (len(re.findall("━|╸|╺", part)) for part in capsys.readouterr().err.split("1.0 KB of")[:2])
    assert quarter > 0
    assert full > 0


def test_threads_add_to_one_bar(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    show = shown("plain", None)
    threads = [threading.Thread(target=lambda: [show.add(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread, "a thread has added")
    show.end()
    assert "sending: 2.0 KB, " in capsys.readouterr().err.splitlines()[-1]
