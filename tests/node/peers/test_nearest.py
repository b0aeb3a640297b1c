"""Which peer is asked: the nearest, another where one is slow, and none that sends wrong bytes."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from node.jobs import programs
from node.jobs.harness import JobNode
from node.peers.harness import large_module, peers, sources
from node.peers.relay import Relay
from waiting import until


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobNode]:
    """A node that has what others fetch."""
    with JobNode(tmp_path_factory.mktemp("origin") / "store") as running:
        yield running


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_the_nearer_of_two_gives(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    far = stack.enter_context(Relay(origin.url, delay=0.4))
    near = stack.enter_context(Relay(origin.url, delay=0.002))
    # The far one is named first.
    node = stack.enter_context(JobNode(tmp_path / "b", "--peer", far.url, "--peer", near.url))
    until(lambda: all(peer["latency_ms"] is not None for peer in peers(node).values()), "all peers are measured")
    for number in range(10):
        library = origin.add(programs.library(10 + number))
        assert node.run(origin.add(programs.user_of(library)))["exit_code"] == 10 + number
    said = peers(node)
    assert list(said) == [near.url, far.url]
    assert said[near.url]["latency_ms"] < said[far.url]["latency_ms"]
    # On a busy machine the near one may once be slow, and the far one be asked as well.
    assert said[near.url]["blocks"] >= 16 and said[near.url]["blocks"] + said[far.url]["blocks"] == 20
    # What was near becomes far: the other is asked after few more.
    near.delay, far.delay = 1.0, 0.002
    for number in range(6):
        job = node.run(origin.add(programs.library(30 + number)), invoke="number")
    assert sources(job) == {("peer", far.url)}


def test_what_is_known_of_peers_outlives_a_restart(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    relay = stack.enter_context(Relay(origin.url))
    with JobNode(tmp_path / "b", "--peer", relay.url) as node:
        node.run(origin.add(programs.library(40)), invoke="number")
        before = peers(node)[relay.url]
    assert before["blocks"] == 1 and before["present"]
    with JobNode(tmp_path / "b") as node:
        after = peers(node)[relay.url]
        # Nobody told of it this time.
        assert (after["present"], after["blocks"]) == (False, 1)
        assert node.run(origin.add(programs.library(41)), invoke="number")["state"] == "failed"
    with JobNode(tmp_path / "b", "--peer", relay.url) as node:
        assert node.run(origin.add(programs.library(41)), invoke="number")["state"] == "done"
        assert peers(node)[relay.url]["blocks"] == 2


def test_a_slow_peer_loses_the_race_and_is_left(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    slow = stack.enter_context(Relay(origin.url))
    other = stack.enter_context(Relay(origin.url, delay=0.05))
    node = stack.enter_context(JobNode(tmp_path / "b", "--peer", slow.url, "--peer", other.url))
    until(lambda: all(peer["latency_ms"] is not None for peer in peers(node).values()), "all peers are measured")
    node.run(origin.add(programs.library(50)), invoke="number")
    assert slow.asked
    # It is the nearest as far as anybody knows, and stops to answer.
    slow.delay = 30
    started = time.monotonic()
    job = node.run(origin.add(programs.library(51)), invoke="number")
    took = time.monotonic() - started
    assert sources(job) == {("peer", other.url)}
    assert took < 10
    # Its request was ended long before it would have answered, and nobody waits for it.
    assert slow.was_left.wait(20)
    assert job["report"]["modules"][0]["fetch_ms"] < 3000


def test_dripping_peers_hold_nobody_up(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    drips = [stack.enter_context(Relay(origin.url)) for _ in range(3)]
    sound = stack.enter_context(Relay(origin.url, delay=0.1))
    arguments = [part for relay in (*drips, sound) for part in ("--peer", relay.url)]
    node = stack.enter_context(JobNode(tmp_path / "b", *arguments))
    for relay in drips:
        relay.drip = 0.05
    cid, leaves = large_module(origin, 24)
    started = time.monotonic()
    job = node.run(cid)
    took = time.monotonic() - started
    assert job["state"] == "done", job
    # A block would take fourteen hours from any of them.
    assert took < 30
    assert sum(peer["bytes"] for peer in peers(node).values()) == peers(node)[sound.url]["bytes"] > 23 << 20
    assert sum(sound.asked.values()) == len(leaves) + 1
    assert node.get("/healthz").status == 200


def test_one_that_sends_wrong_bytes_is_suspended(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    liar = stack.enter_context(Relay(origin.url))
    sound = stack.enter_context(Relay(origin.url, delay=0.05))
    liar.lies = True
    arguments = ("--peer", liar.url, "--peer", sound.url)
    with JobNode(tmp_path / "b", *arguments) as node:
        until(lambda: all(peer["latency_ms"] is not None for peer in peers(node).values()), "all peers are measured")
        first = node.run(origin.add(programs.library(60)), invoke="number")
        assert sources(first) == {("peer", sound.url)}
        assert sum(liar.asked.values()) == 1
        said = peers(node)[liar.url]
        assert (said["wrong"], said["failures"], said["blocks"]) == (1, 1, 0)
        assert "does not match its CID" in said["aside_reason"]
        aside = datetime.datetime.fromisoformat(said["aside_until"]) - datetime.datetime.now(datetime.UTC)
        assert 3000 < aside.total_seconds() <= 3600
        node.run(origin.add(programs.library(61)), invoke="number")
    with JobNode(tmp_path / "b", *arguments) as node:
        # Also after a restart, and though it would do better now.
        liar.lies = False
        assert sources(node.run(origin.add(programs.library(62)), invoke="number")) == {("peer", sound.url)}
    assert sum(liar.asked.values()) == 1
    with JobNode(tmp_path / "b", "--peer", liar.url) as node:
        failed = node.run(origin.add(programs.library(63)), invoke="number")
        assert failed["state"] == "failed" and "suspended" in failed["error"]["message"]
    assert sum(liar.asked.values()) == 1


def test_a_peer_that_is_down_is_used_again_when_it_is_back(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    relay = stack.enter_context(Relay(origin.url))
    node = stack.enter_context(JobNode(tmp_path / "b", "--peer", relay.url))
    relay.is_down = True
    for number in range(2):
        job = node.run(origin.add(programs.library(70 + number)), invoke="number")
        assert job["state"] == "failed" and relay.url in job["error"]["message"]
    assert peers(node)[relay.url]["aside_until"]
    relay.is_down = False
    # Nobody else is there to ask, so that it was suspended does not keep it from being asked.
    assert sources(node.run(origin.add(programs.library(72)), invoke="number")) == {("peer", relay.url)}
    assert peers(node)[relay.url]["aside_until"] is None


def test_a_busy_peer_is_asked_again_when_it_said(origin: JobNode, tmp_path: Path, stack: ExitStack) -> None:
    relay = stack.enter_context(Relay(origin.url))
    relay.busy = 1
    node = stack.enter_context(JobNode(tmp_path / "b", "--peer", relay.url))
    cid = origin.add(programs.library(80))
    job = node.run(cid, invoke="number")
    assert sources(job) == {("peer", relay.url)}
    assert relay.asked[cid] == 2
    assert job["report"]["modules"][0]["fetch_ms"] >= 900
    assert peers(node)[relay.url]["failures"] == 0
