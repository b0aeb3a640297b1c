"""Parts of the regular expressions that cut code: a number, and as many instructions as there are."""

from __future__ import annotations

#: Any LEB128.
LEB = rb"[\x80-\xff]*+[\x00-\x7f]"


def repeated(instruction: bytes) -> bytes:
    """A pattern for as many matches of `instruction` as there are, each of a byte or more, that never gives one back.

    Possessive, so that a function of megabytes takes no memory for ways to go back. The body is atomic because the `re`
    of Python before 3.11.5 (Debian 12 has 3.11.2) forgets to go back to where a body began that took something and then
    failed (python/cpython#106052); an atomic group goes back by itself. It costs 8 % of cutting, under 1 % of a split.
    """
    return rb"(?:(?>%b))*+" % instruction
