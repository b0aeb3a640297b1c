"""How many requests each client may make: a bucket of tokens that fills steadily, one token a request."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from bacnode.http_server.errors import RequestError

#: Clients that are remembered. One that was forgotten begins with a full bucket.
MAX_CLIENTS = 16_384


class Rates:
    """Buckets of one kind, by client: `rate` requests a second on average, `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        #: Tokens at a time, the client that came last at the end.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take a token; return 0, or the seconds after which there will be one."""
        now = self._clock()
        found = self._buckets.get(client)
        tokens = self.burst if found is None else min(self.burst, found[0] + (now - found[1]) * self.rate)
        if tokens < 1:
            return (1 - tokens) / self.rate
        self._buckets[client] = (tokens - 1, now)
        if found is None:
            if len(self._buckets) > MAX_CLIENTS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
        return 0.0


def client_of(address: tuple[str, int] | None) -> str:
    """Return what stands for a client: its address, or the network of 64 bits that a client of IPv6 has to itself."""
    if address is None:
        return ""
    host = address[0]
    if ":" not in host:
        return host
    try:
        found = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def too_often(message: str, seconds: float) -> RequestError:
    """The answer to a client that may come again after so many seconds."""
    return RequestError(
        "too-often",
        message,
        hint="wait for as many seconds as `Retry-After` says",
        status=429,
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
    )
