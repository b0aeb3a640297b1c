"""What several threads want at once is done once, for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class OneAtATime:
    """Has what several threads want at once done by one of them, for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing: dict[str, Future[object]] = {}

    def do(self, key: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, or what another thread's work for the same key, under way, is going to."""
        with self._lock:
            future = self._doing.get(key)
            mine = future is None
            if future is None:
                future = self._doing[key] = Future()
        if not mine:
            return future.result()  # type: ignore[return-value]  # of the same key, so of the same kind
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            future.set_result(result)
            return result
        finally:
            with self._lock:
                del self._doing[key]
