"""Sizes, counts and a stranger's text, as messages show them."""

from __future__ import annotations

import os
import shlex

#: Characters of what a server says that a message repeats.
_ERROR_CHARACTERS = 200


def shown(text: str, characters: int = _ERROR_CHARACTERS) -> str:
    """What a server says, as a message may hold it: on one line, printable, and short."""
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line if len(line) <= characters else f"{line[:characters]}…"


def shell_word(text: str | os.PathLike[str]) -> str:
    """A path or name as one word of a shell's command line, made of printable characters whatever is in it.

    What is no UTF-8, and what a terminal would act on, is escaped as in bash, zsh and POSIX of 2024: `$'\\377'`.
    """
    word = os.fspath(text)
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_escaped(character) for character in word) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode(errors="surrogateescape"))


def human_bytes(count: int) -> str:
    """`count` bytes as people write it: `512 B`, `1.1 KB`, `50.4 MB` (powers of ten)."""
    if abs(count) < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= 1000
        # Not 1000.0 of one unit, which is 1.0 of the next.
        if abs(size) < 999.95 or unit == "GB":
            return f"{size:.1f} {unit}"
    raise AssertionError("unreachable")


def count_of(count: int, what: str) -> str:
    """Return `count` and `what`, in the plural if it must be: `1 block`, `2 blocks`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
