"""Failures are counted in one place: for a node, which asks again some time, and for a run, which does not."""

from __future__ import annotations

import math

import pytest

from bacnode.fetch.source_health import OF_A_NODE, OF_A_RUN, Busy, Health

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
    standing.lost_race(NOW, 5.0, None)
    assert standing.first_byte is not None and standing.first_byte > 1


def test_failures_put_aside_for_longer_each_time() -> None:
    standing = Health()
    until = []
    for _ in range(OF_A_NODE.failures + 3):
        standing.failed(NOW, "no answer")
        until.append(standing.aside_until)
    assert until[: OF_A_NODE.failures - 1] == [0.0] * (OF_A_NODE.failures - 1)
    assert [moment - NOW for moment in until[OF_A_NODE.failures - 1 :]] == [15, 30, 60, 120]
    standing.answered(NOW, 0.1, 10, 0.1)
    assert not standing.is_suspended(NOW)


def test_wrong_bytes_put_aside_and_sound_ones_on_their_way_excuse_nothing() -> None:
    standing = Health()
    standing.sent_corrupt(NOW, "not what its CID says")
    standing.answered(NOW + 1, 0.1, 10, 0.1)
    assert standing.is_suspended(NOW + 3599) and not standing.is_suspended(NOW + 3600)
    standing.sent_corrupt(NOW + 3600, "again")
    assert standing.is_suspended(NOW + 3600 + 7199)
    standing.answered(NOW + 3600 + 7200, 0.1, 10, 0.1)
    assert not standing.is_liar and standing.wrong == 2


def test_what_is_put_aside_in_a_run_stays_so() -> None:
    health = Health()
    for _ in range(OF_A_RUN.failures):
        assert not health.is_suspended(NOW)
        health.failed(NOW, "no answer", OF_A_RUN)
    assert health.is_suspended(NOW + 1e9)
    # What was on its way meanwhile changes neither that, nor why.
    health.failed(NOW, "another reason", OF_A_RUN)
    health.recovered(NOW)
    assert (health.aside_until, health.aside_reason) == (math.inf, "no answer")


def test_one_failure_is_enough_where_it_is_final() -> None:
    health = Health()
    health.failed(NOW, "it cannot be connected to", OF_A_RUN, final=True)
    assert health.is_suspended(NOW)


def test_an_answer_ends_a_row_of_failures() -> None:
    health = Health()
    for _ in range(OF_A_RUN.failures - 1):
        health.failed(NOW, "no answer", OF_A_RUN)
    health.recovered(NOW)
    health.failed(NOW, "no answer", OF_A_RUN)
    assert not health.is_suspended(NOW)


def test_pauses_that_overlap_are_counted_once() -> None:
    busy = Busy()
    busy.asked_for(100, 10)
    busy.asked_for(105, 10)
    busy.asked_for(106, 1)
    assert (busy.until, busy.seconds) == (115, 15)
    busy.asked_for(200, 5)
    assert (busy.until, busy.seconds) == (205, 20)
