"""How much a proof may do: in proportion to what it reads, whatever a crafted split asks for."""

from __future__ import annotations

#: For each byte of the modules: far more than any of them needs to be set up.
_STEPS_A_BYTE = 4
_LEAST_STEPS = 200_000


class EffortError(Exception):
    """Setting something up does more than can be followed."""


class Effort:
    """The steps that are left to set up modules of so many bytes in all."""

    def __init__(self, size: int) -> None:
        self._left = _LEAST_STEPS + _STEPS_A_BYTE * size

    def spend(self, steps: int) -> None:
        """Take some steps; raises when there are not so many left."""
        self._left -= steps
        if self._left < 0:
            raise EffortError
