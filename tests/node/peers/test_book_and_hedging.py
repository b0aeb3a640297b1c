"""What is kept of peers, and that several are asked for one thing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bacnode.fetch.source_health import Health
from bacnode.peers.hedged_request import Attempt, race
from bacnode.peers.peer_book import MOST_FOUND, MOST_ROUTED, PeerBook, PeerOptions
from bacpack.errors import UnreachableError
from waiting import until

NOW = 1_000_000.0


def test_the_book_keeps_what_it_is_told(tmp_path: Path) -> None:
    book = PeerBook(tmp_path)
    book.begin(PeerOptions(("http://one/",), ("http://router",), allow_private=True))
    standing = Health()
    standing.answered(NOW, 0.5, 1 << 20, 0.5)
    standing.sent_corrupt(time.time(), "wrong")
    book.measured({"http://one": standing})
    book.pinged("http://one", "12D3KooWx", 0.25)
    again = PeerBook(tmp_path)
    (peer,) = again.all()
    assert peer.health == standing and peer.is_present
    assert (peer.url, peer.told, peer.peer_id, peer.ping) == ("http://one", "configured", "12D3KooWx", 0.25)
    assert (again.options().routers, again.options().allow_private) == (("http://router",), True)
    # Of another start, to which it was not named.
    again.begin(PeerOptions())
    assert [peer.is_present for peer in again.all()] == [False]
    # What was configured is not lost by being found as well.
    again.begin(PeerOptions(("http://one",)))
    again.found("http://one", "12D3KooWx")
    again.vanished("http://one")
    assert [(peer.told, peer.is_present) for peer in again.all()] == [("configured", True)]


def test_the_book_is_bounded_and_mends_itself(tmp_path: Path) -> None:
    book = PeerBook(tmp_path)
    book.begin(PeerOptions())
    assert all(book.found(f"http://10.0.0.{number}:1", "12D3KooWx") for number in range(MOST_FOUND))
    assert not book.found("http://10.0.1.1:1", "12D3KooWx")
    for number in range(MOST_ROUTED + 5):
        book.routed([(f"http://router.example:{number + 1}", None)])
    present = [peer.url for peer in book.all() if peer.is_present and peer.told == "routing"]
    assert len(present) == MOST_ROUTED and "http://router.example:1" not in present
    (tmp_path / "peers.sqlite3").write_bytes(b"not a database" * 1000)
    for name in ("peers.sqlite3-wal", "peers.sqlite3-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    book.begin(PeerOptions(("http://one",)))
    assert [peer.url for peer in book.all()] == ["http://one"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as running:
        yield running


def _late() -> UnreachableError:
    return UnreachableError("late", "too late", hint="wait")


def test_a_race_asks_one_after_the_other(pool: ThreadPoolExecutor) -> None:
    asked = []

    def ask(name: str, attempt: Attempt) -> str:
        asked.append(name)
        if name != "c":
            raise UnreachableError("no", name, hint="no")
        return name.upper()

    outcome = race(iter("abcd"), ask, pool, time.monotonic() + 20, _late)
    assert (outcome.winner, outcome.value, asked) == ("c", "C", ["a", "b", "c"])
    assert [name for name, _ in outcome.failures] == ["a", "b"]


def test_a_race_ends_those_that_lost(pool: ThreadPoolExecutor) -> None:
    left = threading.Event()

    def ask(name: str, attempt: Attempt) -> str:
        if name == "b":
            return "B"
        attempt.hedge_at = time.monotonic() + 0.05
        until(lambda: attempt.cancel.cancelled, "who lost is told to stop")
        left.set()
        raise UnreachableError("no", name, hint="no")

    outcome = race(iter("ab"), ask, pool, time.monotonic() + 20, _late)
    assert (outcome.winner, outcome.failures) == ("b", [])
    assert left.wait(5)
    with pytest.raises(UnreachableError, match="too late"):
        race(iter("a"), ask, pool, time.monotonic() + 0.1, _late)
    assert race(iter(""), ask, pool, time.monotonic() + 1, _late).winner is None
