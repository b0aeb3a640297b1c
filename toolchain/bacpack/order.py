"""In which order the modules of one program are instantiated.

A host instantiates each module once, after all that it imports from. This is the order that ours keeps; a proof must
not rely on it, for other hosts may choose another one in which providers come first as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: More modules than any program needs, and on one path from it to one that imports nothing: ours loads no more.
MOST_MODULES, DEEPEST = 1024, 64


class ImportCircleError(Exception):
    """A module imports from itself, directly or through others; `args[0]` is it."""


def instantiation_order(root: T, needed: Callable[[T], Iterable[T]]) -> list[T]:
    """`root` and all that it needs, each once: after what it imports from, in the order in which imports name that.

    `needed` gives what one of them imports from, and is asked once for each. Raises `ImportCircleError`.
    """
    done: dict[T, None] = {}
    path: dict[T, Iterator[T]] = {root: iter(needed(root))}
    while path:
        current, providers = next(reversed(path.items()))
        provider = next((entry for entry in providers if entry not in done), None)
        if provider is None:
            path.popitem()
            done[current] = None
        elif provider in path:
            raise ImportCircleError(provider)
        else:
            path[provider] = iter(needed(provider))
    return list(done)
