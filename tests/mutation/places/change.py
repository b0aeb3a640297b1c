"""What a change is, and finding a function to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from bacpack.wasm import Kind
from mutation.parts import Body, Parts

#: Changes one thing of a module, and says which; None when it found nothing to change.
Change = Callable[[Parts, Random], str | None]

T = TypeVar("T")

#: How many functions are looked at for a place.
_FUNCTIONS = 20
#: How often the start function comes first: what sets a program up is little code in which everything counts.
_START = 0.3


def bodies(parts: Parts, chance: Random) -> Iterator[tuple[int, Body]]:
    """Some functions of a module by position, in random order."""
    order = chance.sample(range(len(parts.bodies)), min(_FUNCTIONS, len(parts.bodies)))
    if parts.start is not None and chance.random() < _START:
        order.insert(0, parts.start - len(parts.imported(Kind.FUNCTION)))
    for position in order:
        yield position, Body.decode(parts.bodies[position])


def other(chance: Random, options: list[T], than: T) -> T | None:
    """One of the options that differs from what is there."""
    left = [option for option in options if option != than]
    return chance.choice(left) if left else None


def near(chance: Random, number: int, bits: int = 32) -> int:
    """A number that differs a little, in one bit, or altogether."""
    changed = chance.choice((
        number + 1, number - 1, number ^ 1 << chance.randrange(bits), 0 if number else 1, number + 4,
        chance.randrange(1 << bits),
    ))  # fmt: skip
    half = 1 << bits - 1
    return (changed + half) % (2 * half) - half
