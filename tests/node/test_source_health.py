"""Failures are counted in one place: for a node, which asks again some time, and for a run, which does not."""

from __future__ import annotations

import math

from bacnode.fetch.source_health import OF_A_RUN, Busy, Health

NOW = 1_000_000.0


def test_what_is_put_aside_in_a_run_stays_so() -> None:
    health = Health()
    for _ in range(OF_A_RUN.strikes):
        assert not health.is_aside(NOW)
        health.failed(NOW, "no answer", OF_A_RUN)
    assert health.is_aside(NOW + 1e9)
    # What was on its way meanwhile changes neither that, nor why.
    health.failed(NOW, "another reason", OF_A_RUN)
    health.recovered(NOW)
    assert (health.aside_until, health.aside_reason) == (math.inf, "no answer")


def test_one_failure_is_enough_where_it_is_final() -> None:
    health = Health()
    health.failed(NOW, "it cannot be connected to", OF_A_RUN, final=True)
    assert health.is_aside(NOW)


def test_an_answer_ends_a_row_of_failures() -> None:
    health = Health()
    for _ in range(OF_A_RUN.strikes - 1):
        health.failed(NOW, "no answer", OF_A_RUN)
    health.recovered(NOW)
    health.failed(NOW, "no answer", OF_A_RUN)
    assert not health.is_aside(NOW)


def test_pauses_that_overlap_are_counted_once() -> None:
    busy = Busy()
    busy.asked_for(100, 10)
    busy.asked_for(105, 10)
    busy.asked_for(106, 1)
    assert (busy.until, busy.seconds) == (115, 15)
    busy.asked_for(200, 5)
    assert (busy.until, busy.seconds) == (205, 20)
