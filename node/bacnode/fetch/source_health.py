"""What is known of how a source answers, and what follows from it: pure, given the time. Failures are counted here."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Weight of the newest of several measurements.
_NEWEST = 0.25
#: Seconds after which a measurement counts half: networks change, and a peer that was slow is tried again.
_HALF_LIFE = 300.0
#: What a peer is taken for that nobody has measured: near, so that it is tried.
_UNKNOWN_FIRST_BYTE, _UNKNOWN_RATE = 0.01, 4e6
#: Bytes of a block by which peers are compared, and the fewest by which a rate is measured.
_NOMINAL_BYTES, _FEWEST_BYTES = 64 << 10, 16 << 10

#: Requests that one peer is sent at once.
MOST_AT_ONCE = 8
#: Seconds without an answer after which another peer is asked too: of a peer not measured; least and most of another.
HEDGE_SECONDS = 0.3
_HEDGE_LEAST, _HEDGE_MOST = 0.1, 2.0
_MOST_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class HealthRules:
    """When a source is suspended, and for how long: twice as long each time, up to the most."""

    #: Failures, one after the other.
    failures: int = 3
    suspended_seconds: float = 15.0
    suspended_most: float = 600.0
    #: The same for one that sent wrong bytes.
    corrupt_seconds: float = 3600.0
    corrupt_most: float = 86400.0


#: For a node, which will want its peers again; and for a run, which ends before a source may be sound again.
OF_A_NODE = HealthRules()
OF_A_RUN = HealthRules(
    suspended_seconds=math.inf, suspended_most=math.inf, corrupt_seconds=math.inf, corrupt_most=math.inf
)


@dataclass(slots=True)
class Health:
    """How a source did so far. Times are those of `time.time`: those of peers are kept for the next start."""

    #: Seconds to the first byte of an answer, and bytes a second from there; None before there was one.
    first_byte: float | None = None
    rate: float | None = None
    measured_at: float = 0.0
    #: How often it had what it was asked for, of late: from 0 to 1.
    success: float = 1.0
    blocks: int = 0
    bytes: int = 0
    missing: int = 0
    failures: int = 0
    #: Blocks that were not what their CID says.
    wrong: int = 0
    last_error: str | None = None
    #: Failures since it last answered, and how often it was suspended since.
    row: int = 0
    asides: int = 0
    aside_until: float = 0.0
    aside_reason: str | None = None
    #: Whether it was suspended for wrong bytes: it is then not even asked where nobody else is left.
    is_liar: bool = False

    def is_suspended(self, now: float) -> bool:
        """Whether it is not to be asked."""
        return now < self.aside_until

    def expected(self, now: float, under_way: int = 0) -> float:
        """Seconds that a block is expected to take from it, more where it often has none: peers are asked in order."""
        trust: float = 0.5 ** (max(now - self.measured_at, 0) / _HALF_LIFE)
        first = _UNKNOWN_FIRST_BYTE if self.first_byte is None else self.first_byte
        first = _UNKNOWN_FIRST_BYTE + (first - _UNKNOWN_FIRST_BYTE) * trust
        seconds = first + _NOMINAL_BYTES / (self.rate or _UNKNOWN_RATE)
        return seconds * (1 + under_way / MOST_AT_ONCE) / (0.1 + 0.9 * self.success)

    def hedge_first_byte(self) -> float:
        """Seconds that an answer may take to begin before another peer is asked too."""
        if self.first_byte is None:
            return HEDGE_SECONDS
        return min(max(2 * self.first_byte, _HEDGE_LEAST), _HEDGE_MOST)

    def hedge_body(self, size: int) -> float:
        """Seconds that a body may take, once it began, before another peer is asked too."""
        return HEDGE_SECONDS + 2 * size / (self.rate or _UNKNOWN_RATE)

    def answered(self, now: float, first_byte: float, size: int, seconds: float) -> None:
        """Note a block of `size` bytes, the body of which took so many seconds."""
        self._measure(now, first_byte)
        if size >= _FEWEST_BYTES:
            self.rate = _smoothed(self.rate, size / max(seconds, 1e-4))
        self.success += _NEWEST * (1 - self.success)
        self.blocks += 1
        self.bytes += size
        self.recovered(now)

    def lacked(self, now: float, first_byte: float) -> None:
        """Note that it said it has no such block."""
        self._measure(now, first_byte)
        self.success -= _NEWEST * self.success
        self.missing += 1
        self.recovered(now)

    def lost_race(self, now: float, seconds: float, size: int | None) -> None:
        """Note that another was quicker, after so many seconds: it takes at least that long."""
        if size is None:
            self._measure(now, max(seconds, self.first_byte or 0))
        elif self.rate is None or size / max(seconds, 1e-4) < self.rate:
            self.rate = _smoothed(self.rate, size / max(seconds, 1e-4))

    def failed(self, now: float, reason: str, rules: HealthRules = OF_A_NODE, *, final: bool = False) -> None:
        """Note a request that failed; a `final` failure suspends it at once."""
        self.failures += 1
        self.row += 1
        self.last_error = reason
        self.success -= _NEWEST * self.success
        if final or self.row >= rules.failures:
            self._suspend(now, reason, rules.suspended_seconds, rules.suspended_most, self.asides)
            self.asides += 1

    def sent_corrupt(self, now: float, reason: str, rules: HealthRules = OF_A_NODE) -> None:
        """Note a block that was not what its CID says."""
        self.failures += 1
        self._suspend(now, reason, rules.corrupt_seconds, rules.corrupt_most, self.wrong)
        self.wrong += 1
        self.last_error = reason
        self.is_liar = True

    def recovered(self, now: float) -> None:
        """Note that it answered as it should."""
        self.row = self.asides = 0
        # What was under way when it sent corrupt blocks excuses nothing, nor when it was suspended for good.
        if now >= self.aside_until or not (self.is_liar or self.aside_until == math.inf):
            self.aside_until, self.aside_reason, self.is_liar = 0.0, None, False

    def _suspend(self, now: float, reason: str, seconds: float, most: float, before: int) -> None:
        until = now + min(seconds * 2 ** min(before, _MOST_DOUBLINGS), most)
        if until > self.aside_until:
            self.aside_until, self.aside_reason = until, reason

    def _measure(self, now: float, first_byte: float) -> None:
        self.first_byte = _smoothed(self.first_byte, first_byte)
        self.measured_at = now


def _smoothed(known: float | None, newest: float) -> float:
    """The mean of what was measured, of which the newest counts most."""
    return newest if known is None else known + _NEWEST * (newest - known)


@dataclass(slots=True)
class Busy:
    """What a source asked to be left alone for. Times are those of `time.monotonic`."""

    #: When it may be asked again.
    until: float = 0.0
    #: Seconds that it asked for in all.
    seconds: float = 0.0

    def asked_for(self, now: float, seconds: float) -> None:
        """Note that it is not to be asked for so long."""
        until = max(self.until, now + seconds)
        self.seconds += until - max(self.until, now)
        self.until = until
