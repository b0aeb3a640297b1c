"""A bound on how much of one kind is done at once; what is beyond it is told to come again."""

from __future__ import annotations

from types import TracebackType

from bacnode.http_server.errors import too_busy


class ConcurrencyLimit:
    """Use as a context manager, in the event loop's thread; raises `RequestError` (`too-busy`) when all are taken."""

    def __init__(self, count: int, what: str) -> None:
        self._free = count
        self._what = what

    def __enter__(self) -> None:
        if self._free <= 0:
            raise too_busy(self._what)
        self._free -= 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free += 1
