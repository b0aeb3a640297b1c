"""What several threads want at once is done once, for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class OneAtATime:
    """Has what several threads want at once done by one of them, for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing: dict[Hashable, Future[Any]] = {}

    def do(self, key: Hashable, work: Callable[[], T], seconds: float | None = None) -> T:
        """Return what `work` returns, or what another thread's work for the same key, under way, is going to.

        Another thread is waited for so many seconds; raises `TimeoutError` then, and what the work raises.
        """
        with self._lock:
            future = self._doing.get(key)
            mine = future is None
            if future is None:
                future = self._doing[key] = Future()
        if not mine:
            return future.result(seconds)  # type: ignore[no-any-return]  # of the same key, so of the same kind
        try:
            result = work()
            future.set_result(result)
            return result
        except BaseException as error:
            future.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._doing[key]
