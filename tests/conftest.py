"""What all tests share: how Hypothesis looks for examples, which signals reach children, and what a run may leave."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from hypothesis import settings

import soak
from leftovers import Place
from packages import BUILD
from wanting import not_run

# A normal run tries the same examples every time; a busy machine makes any of them slow.
settings.register_profile(
    "tests", deadline=None, derandomize=soak.TIMES == 1, max_examples=100 * soak.TIMES, print_blob=True
)
settings.load_profile("tests")

_PLACE = pytest.StashKey[Place]()
_LEFT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Heed interrupts, as what tests start then does: a shell has its background jobs ignore them, for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if not hasattr(config, "workerinput"):
        config.stash[_PLACE] = Place(BUILD)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every process begin with tests that are marked as long: otherwise all wait for one of them in the end.

    Leave out those that `make soak` alone runs.
    """
    if soak.TIMES == 1:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("soak")])
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    # Each is given the next part of the list, and takes from others when it has none left.
    size = -(-len(rest) // processes)
    items[:] = [
        item
        for number in range(processes)
        for item in (*long[number::processes], *rest[number * size : (number + 1) * size])
    ]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves something behind."""
    place = session.config.stash.get(_PLACE, None)
    if place is not None:
        session.config.stash[_LEFT] = place.leftovers()
        if session.config.stash[_LEFT] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left behind, how the proof scored, and in one line what was not run, and for want of what."""
    for left in config.stash.get(_LEFT, []):
        terminalreporter.write_line(f"left behind: {left}", red=True)
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    counts = sum(
        (Counter(value) for report in reports for name, value in report.user_properties if name == soak.SCORE),
        Counter(),
    )
    for number, (what, count) in enumerate(counts.most_common()):
        terminalreporter.write_line(f"{f'{soak.SCORE}:' if not number else '':28}{count:6} {what}")
    if line := not_run(terminalreporter.stats.get("skipped", []), config.rootpath):
        terminalreporter.write_line(line, yellow=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (place := config.stash.get(_PLACE, None)) is not None:
        place.remove()
