"""What every package uses: a database of ours, a file put in place, and work that several threads want at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bacnode.jobs.database import JobDatabase
from bacpack.errors import InputError
from bacpack.files import placed
from bacpack.single_flight import OneAtATime
from bacpack.sqlite_file import open_sqlite
from waiting import joined, until


def test_a_database_of_jobs_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match="the node's database") as caught:
        JobDatabase(tmp_path)
    assert caught.value.code == "store-damaged"
    (tmp_path / "jobs.sqlite3").unlink()
    open_sqlite(tmp_path / "jobs.sqlite3", "", 7).close()
    with pytest.raises(InputError, match="layout 7; this one knows 1") as caught:
        JobDatabase(tmp_path)
    assert caught.value.code == "store-too-new"


def test_a_file_takes_its_place_whole_or_not_at_all(tmp_path: Path) -> None:
    path, aside = tmp_path / "file", tmp_path / "aside"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), placed(path, aside, 0o600) as descriptor:
        Path(f"/proc/self/fd/{descriptor}").write_bytes(b"half")
        raise ZeroDivisionError
    assert (path.read_bytes(), aside.exists()) == (b"before", False)
    with placed(path, aside, 0o600) as descriptor:
        Path(f"/proc/self/fd/{descriptor}").write_bytes(b"whole")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, aside.exists()) == (b"whole", 0o600, False)


def test_another_threads_work_is_waited_for_so_long_and_no_longer() -> None:
    doing, begun, go_on = OneAtATime(), threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert go_on.wait(20)
        return 7

    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(doing.do("a", work)))
    thread.start()
    until(begun.is_set, "the work begins")
    with pytest.raises(TimeoutError):
        doing.do("a", work, 0.01)
    go_on.set()
    joined(thread, "the work ends")
    assert (found, doing.do("a", lambda: 8)) == ([7], 8)
