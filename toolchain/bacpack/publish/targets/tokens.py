"""Tokens that authorise publishing: from the environment or a file, never from arguments, and masked in all output.

Arguments can be read by every process of the machine and stay in the shell's history.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from bacpack.errors import InputError
from bacpack.files import read_file

#: Kinds of target that take a token.
TokenKind: TypeAlias = Literal["kubo", "pinning", "node"]
TOKEN_KINDS: tuple[TokenKind, ...] = get_args(TokenKind)

_MASK = "***"


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A secret. As Kubo's configuration writes them, `basic:USER:PASSWORD` and `bearer:TOKEN` say which kind it is."""

    text: str

    @property
    def header(self) -> str:
        """What `Authorization` is set to."""
        if self.text.startswith("basic:"):
            return f"Basic {self._encoded}"
        return f"Bearer {self.text.removeprefix('bearer:')}"

    @property
    def _encoded(self) -> str:
        return base64.b64encode(self.text.removeprefix("basic:").encode()).decode()

    def mask(self, text: str) -> str:
        """Return `text` without the secret, in any form in which a server may repeat it."""
        bare = self.text.removeprefix("bearer:").removeprefix("basic:")
        forms = {self.text, bare, self._encoded, bare.partition(":")[2]} - {""}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, _MASK)
        return text


def variable(kind: TokenKind) -> str:
    """Return the name of the environment variable for the token of a kind of target."""
    return f"BACPACK_{kind.upper()}_TOKEN"


def find_token(kind: TokenKind, given: Mapping[TokenKind, Path], configured: Mapping[TokenKind, Path]) -> Token | None:
    """Return the token for a kind of target: from a file that was given, the environment, or a configured file.

    Raises `InputError` (`bad-token`) for text that cannot be a token, without repeating it.
    """
    if kind in given:
        return _from_file(given[kind])
    text = os.environ.get(variable(kind), "").strip()
    if text:
        return _checked(text, f"the variable {variable(kind)}")
    return _from_file(configured[kind]) if kind in configured else None


def _from_file(path: Path) -> Token:
    return _checked(read_file(path).decode(errors="replace").strip(), f"`{path}`")


def _checked(text: str, where: str) -> Token:
    if not text or not text.isascii() or not text.isprintable():
        raise InputError(
            "bad-token",
            f"{where} holds no token: " + ("it is empty" if not text else "it is more than one line of plain text"),
            hint="put the token there, on one line and nothing else",
        )
    return Token(text)
