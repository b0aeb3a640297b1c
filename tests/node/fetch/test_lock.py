"""URLs that modules import from are held to what they gave at first."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.errors import CheckFailedError
from bacpack.project.settings.lock_file import UrlLock, lock_path
from node.harness import Command, assemble
from node.server import FileServer
from waiting import PATIENCE

FIRST = assemble('(module (func (export "f")))')
SECOND = assemble('(module (func (export "f")) (func))')


@pytest.fixture
def program(server: FileServer, tmp_path: Path) -> Path:
    """A program that imports from a URL."""
    server.put("/lib.wasm", FIRST)
    path = tmp_path / "work" / "app.wasm"
    path.parent.mkdir()
    path.write_bytes(
        assemble(f'(module (import "{server.url}/lib.wasm" "f" (func $f)) (func (export "_start") (call $f)))')
    )
    return path


def verified(command: Command, program: Path, *more: object) -> bool:
    """Run the program, which must succeed; return whether what came from the URL was compared with anything."""
    report = program.parent / "report.json"
    done = command("run", program, "--allow-private", "--report", report, cwd=program.parent)
    assert done.returncode == 0, done.stderr
    (module, _) = json.loads(report.read_text())["modules"]
    assert module["source"] == "url"
    return bool(module["verified"])


def test_the_first_use_is_noted_and_held_to(command: Command, program: Path, server: FileServer) -> None:
    url, lock = f"{server.url}/lib.wasm", command.home / "bacpack.lock"
    assert not verified(command, program)
    text = lock.read_bytes()
    assert json.loads(text) == {
        "schema": 1,
        "urls": {url: {"cid": str(Cid.of_raw(FIRST)), "bytes": len(FIRST), "source": "url"}},
    }
    assert verified(command, program)
    assert lock.read_bytes() == text
    server.put("/lib.wasm", SECOND)
    message = command.fails(1, "lock-mismatch", "run", "--allow-private", program, cwd=program.parent)
    for part in (url, str(Cid.of_raw(FIRST)), str(Cid.of_raw(SECOND)), f"remove the entry of this URL from `{lock}`"):
        assert part in message
    assert lock.read_bytes() == text
    missing = json.loads(command("inspect", program, "--allow-private", "--json").stdout)["missing"]
    assert [problem["code"] for problem in missing] == ["lock-mismatch"]
    # What the hint says fixes it.
    lock.write_text(json.dumps({"schema": 1, "urls": {}}))
    assert not verified(command, program)
    assert verified(command, program)


def test_a_project_has_a_lock_of_its_own(command: Command, program: Path) -> None:
    (program.parent / "bacpack.toml").touch()
    below = program.parent / "below"
    below.mkdir()
    done = command("run", program, "--allow-private", cwd=below)
    assert done.returncode == 0, done.stderr
    assert (program.parent / "bacpack.lock").is_file()
    assert not (command.home / "bacpack.lock").exists()
    assert lock_path(Path("/nowhere"), below) == program.parent / "bacpack.lock"


def test_a_url_that_a_person_typed_is_not_held_to_anything(command: Command, server: FileServer) -> None:
    start = assemble('(module (func (export "_start")))')
    done = command("run", server.put("/app.wasm", start))
    assert done.returncode == 0, done.stderr
    assert not (command.home / "bacpack.lock").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 2, "urls": {}}',
        '{"schema": 1, "urls": {"http://x": {"cid": "bafy", "bytes": 1}}}',
        '{"schema": 1, "urls": {"http://x": {"cid": 5, "bytes": 1}}}',
        '{"schema": 1, "urls": {}, "more": 1}',
    ],
)
def test_a_lock_that_cannot_be_read_is_refused(command: Command, program: Path, text: str) -> None:
    command.home.mkdir()
    (command.home / "bacpack.lock").write_text(text)
    assert "bacpack.lock" in command.fails(2, "bad-lock", "run", "--allow-private", program, cwd=program.parent)
    assert (command.home / "bacpack.lock").read_text() == text


def test_entries_are_sorted_so_that_the_same_urls_give_the_same_bytes(tmp_path: Path) -> None:
    urls = [f"https://example.org/{name}" for name in "cab"]
    for folder, order in (("one", urls), ("two", urls[::-1])):
        lock = UrlLock(tmp_path / folder / "bacpack.lock")
        for url in order:
            assert not lock.hold(url, Cid.of_raw(url.encode()), len(url))
    one, two = ((tmp_path / folder / "bacpack.lock").read_bytes() for folder in ("one", "two"))
    assert one == two
    assert list(json.loads(one)["urls"]) == sorted(urls)
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["bacpack.lock"]


def _note(path: Path, number: int, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    for each in range(20):
        UrlLock(path).hold(f"https://example.org/{number}/{each}", Cid.of_raw(bytes([number])), 1)


def test_processes_that_note_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bacpack.lock"
    barrier = multiprocessing.Barrier(3, timeout=PATIENCE)
    processes = [multiprocessing.Process(target=_note, args=(path, number, barrier)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0
    assert len(json.loads(path.read_bytes())["urls"]) == 60


def test_the_second_of_two_that_use_a_url_first_is_held_to_the_first(tmp_path: Path) -> None:
    lock = UrlLock(tmp_path / "bacpack.lock")
    unread = UrlLock(tmp_path / "bacpack.lock")
    reads: Iterator[object] = iter([unread._read()])
    read = unread._read
    unread._read = lambda: next(reads, None) or read()  # type: ignore[method-assign,return-value,assignment]
    assert not lock.hold("https://example.org", Cid.of_raw(FIRST), len(FIRST))
    with pytest.raises(CheckFailedError) as raised:
        unread.hold("https://example.org", Cid.of_raw(SECOND), len(SECOND))
    assert raised.value.code == "lock-mismatch"
