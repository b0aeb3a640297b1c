"""How long a server is waited for, and when it is asked again.

`RequestPolicy()` is what holds for a client that is given no other: publishing, the peers of a node and Bacalhau have
one of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How long others are waited for, in seconds, and how often they are asked again."""

    #: A connection, to one address.
    connect: float = 30
    #: Silence; also from a request to the end of the headers that answer it.
    idle: float = 30
    #: One block, however slowly it drips.
    block: float = 180
    #: One whole answer to a URL.
    answer: float = 600
    #: What a Kubo may spend on looking for one block that it does not hold.
    search: float = 10
    #: All that one source may make us wait for by saying that it is busy.
    busy: float = 60
    #: Requests for one thing, before a source that fails is given up.
    tries: int = 3
    #: The first pause before asking again, and the longest, where the server names none; each is twice the one before.
    pause: float = 0.2
    longest_pause: float = 10

    def pauses(self) -> Iterator[float | None]:
        """Yield the pause after each attempt that fails, None after the last."""
        yield from map(self.pause_after, range(1, self.tries))
        yield None

    def pause_after(self, failures: int) -> float:
        """Return the pause after so many failures, at least one: give or take a fifth, lest all come again at once."""
        import random

        pause: float = min(self.pause * 2 ** (failures - 1), self.longest_pause)
        return pause * random.uniform(0.8, 1.2)


def retry_after(text: str) -> float | None:
    """Seconds that a `Retry-After` header asks to wait, given as a number or a date; None where it says neither."""
    from email.utils import parsedate_to_datetime

    if text.strip().isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0)
    except (ValueError, TypeError, OverflowError):
        return None
