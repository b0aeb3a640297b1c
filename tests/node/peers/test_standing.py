"""What follows from how a peer answered; and that it is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bacnode.fetch.source_health import OF_A_NODE, Health
from bacnode.peers.hedged_request import Attempt, race
from bacnode.peers.peer_book import MOST_FOUND, MOST_ROUTED, PeerBook, PeerOptions
from bacpack.errors import UnreachableError
from bacpack.ipfs_clients.multiaddr import of_url, to_url
from waiting import until

NOW = 1_000_000.0


def test_the_quicker_and_the_surer_are_nearer() -> None:
    quick, slow, unsure = Health(), Health(), Health()
    for _ in range(8):
        quick.answered(NOW, 0.01, 1 << 16, 0.01)
        slow.answered(NOW, 0.2, 1 << 16, 0.01)
        unsure.answered(NOW, 0.01, 1 << 16, 0.01)
        unsure.lacked(NOW, 0.01)
        unsure.lacked(NOW, 0.01)
    assert quick.expected(NOW) < unsure.expected(NOW) < slow.expected(NOW)
    # One that is busy with us is further.
    assert quick.expected(NOW, under_way=8) > 1.9 * quick.expected(NOW)
    # What was slow long ago is tried again; one that nobody knows is tried.
    assert slow.expected(NOW + 6000) < 2 * quick.expected(NOW)
    assert Health().expected(NOW) < slow.expected(NOW)


def test_another_is_asked_after_twice_the_time_that_is_expected() -> None:
    standing = Health()
    assert standing.hedge_first_byte() == 0.3
    standing.answered(NOW, 0.4, 1 << 20, 1.0)
    assert standing.hedge_first_byte() == pytest.approx(0.8)
    assert standing.hedge_body(1 << 20) == pytest.approx(2.3)
    standing.outrun(NOW, 5.0, None)
    assert standing.first_byte is not None and standing.first_byte > 1


def test_failures_put_aside_for_longer_each_time() -> None:
    standing = Health()
    until = []
    for _ in range(OF_A_NODE.strikes + 3):
        standing.failed(NOW, "no answer")
        until.append(standing.aside_until)
    assert until[: OF_A_NODE.strikes - 1] == [0.0] * (OF_A_NODE.strikes - 1)
    assert [moment - NOW for moment in until[OF_A_NODE.strikes - 1 :]] == [15, 30, 60, 120]
    standing.answered(NOW, 0.1, 10, 0.1)
    assert not standing.is_aside(NOW)


def test_wrong_bytes_put_aside_and_sound_ones_on_their_way_excuse_nothing() -> None:
    standing = Health()
    standing.lied(NOW, "not what its CID says")
    standing.answered(NOW + 1, 0.1, 10, 0.1)
    assert standing.is_aside(NOW + 3599) and not standing.is_aside(NOW + 3600)
    standing.lied(NOW + 3600, "again")
    assert standing.is_aside(NOW + 3600 + 7199)
    standing.answered(NOW + 3600 + 7200, 0.1, 10, 0.1)
    assert not standing.is_liar and standing.wrong == 2


def test_the_book_keeps_what_it_is_told(tmp_path: Path) -> None:
    book = PeerBook(tmp_path)
    book.begin(PeerOptions(("http://one/",), ("http://router",), allow_private=True))
    standing = Health()
    standing.answered(NOW, 0.5, 1 << 20, 0.5)
    standing.lied(time.time(), "wrong")
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


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/ip4/10.0.0.1/tcp/8301/http", "http://10.0.0.1:8301"),
        ("/ip6/::1/tcp/80/http", "http://[::1]:80"),
        ("/dns4/node.example/tcp/443/tls/http", "https://node.example:443"),
        ("/dns/node.example/tcp/443/https", "https://node.example:443"),
        ("/ip4/10.0.0.1/tcp/8301", None),
        ("/ip4/10.0.0.1/udp/8301/quic-v1", None),
        ("/ip4/10.0.0.1/tcp/0/http", None),
        ("/ip4/10.0.0.1/tcp/99999/http", None),
        ("/ip4/::1/tcp/80/http", None),
        ("/dns4/a@b/tcp/80/http", None),
        ("/dns4/a b/tcp/80/http", None),
        ("/dns4//tcp/80/http", None),
        ("/ip4/10.0.0.1/tcp/80/http/p2p/x", None),
        ("", None),
    ],
)
def test_addresses_are_urls(address: str, url: str | None) -> None:
    assert to_url(address) == url
    if url is not None:
        assert to_url(of_url(url) or "") == url
