"""Work in several processes tells how far it is, also while nothing of it is done."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bacpack import parallel
from bacpack.errors import BacpackError
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Module
from corpus import NAMED_PROGRAM


def test_progress_is_told_while_no_worker_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "processors", lambda: 2)
    monkeypatch.setattr(parallel, "_SHOW_SECONDS", 0.05)
    shown: list[str] = []
    assert parallel.in_workers(lambda position: time.sleep(0.5) or position, [1, 1], shown.append, "done") == [0, 1]
    assert shown.count("0 of 2 done") > 1
    assert shown[-1] == "2 of 2 done"


def test_a_worker_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does when memory runs out."""
    monkeypatch.setattr(parallel, "processors", lambda: 2)
    with pytest.raises(BacpackError, match="was killed") as caught:
        parallel.in_workers(lambda position: os.kill(os.getpid(), signal.SIGKILL), [1, 1], lambda state: None, "done")
    assert caught.value.code == "out-of-memory"


def test_progress_is_told_while_one_program_is_read() -> None:
    shown: list[str] = []
    fingerprint(Module.parse(NAMED_PROGRAM.read_bytes()), shown.append)
    assert shown
    assert all(state.endswith(" functions read") for state in shown)
