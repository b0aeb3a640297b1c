"""The one base of every error a person is meant to read.

This is the only module that every other may import. An error says what failed and why (`message`), how to fix it
(`hint`), and carries a stable `code` for programs; the command line prints it, or puts it in the JSON it promises, and
ends with `exit_status`. The codes are listed in `docs/reference/errors.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

#: The thing checked or run did not hold.
EXIT_FAILED = 1
#: Wrong usage, input or configuration.
EXIT_INPUT = 2
#: Something could not be fetched.
EXIT_UNREACHABLE = 3
#: A time limit was reached.
EXIT_TIMEOUT = 124
#: Interrupted from the keyboard.
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as plain data: what messages, databases, reports and answers carry of one."""

    code: str
    message: str
    hint: str | None = None
    #: Facts behind the message as JSON values.
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fault(cls, code: str, error: Exception) -> Problem:
        """What is said of an error that nobody expected."""
        return cls(code, repr(error), "report this")

    def as_json(self) -> dict[str, Any]:
        """The problem as `--json` and the interface of a node write it."""
        return asdict(self)


class BacpackError(Exception):
    """What failed and why, for a person, with a hint that fixes it.

    Subclasses set `exit_status`; each raise names its `code`, lower-case words joined by hyphens, which never changes
    its meaning.
    """

    exit_status: ClassVar[int] = EXIT_INPUT

    def __init__(
        self,
        code: str,
        message: str,
        *,
        reasons: Sequence[str] = (),
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        #: What is to be shown, a line each: names in it may have line feeds of their own, which begin no line.
        self.lines = [f"{message}:" if reasons else message, *(f"  {reason}" for reason in reasons)]
        self.message = "\n".join(self.lines)
        self.hint = hint
        #: Facts behind the message as JSON values: paths, CIDs, sizes in bytes.
        self.details: dict[str, Any] = dict(details or {})

    def problem(self) -> Problem:
        """The error as plain data."""
        return Problem(self.code, self.message, self.hint, self.details)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions travel between processes by their arguments alone, which would lose all but the message.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[BacpackError], arguments: tuple[Any, ...], state: dict[str, Any]) -> BacpackError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class InputError(BacpackError):
    """The input, the usage or the configuration is wrong."""


class CheckFailedError(BacpackError):
    """Something that was checked or run did not hold."""

    exit_status = EXIT_FAILED


class UnreachableError(BacpackError):
    """Something that is needed could not be fetched."""

    exit_status = EXIT_UNREACHABLE


class TimeLimitError(BacpackError):
    """A time limit was reached."""

    exit_status = EXIT_TIMEOUT


def restated(error: BacpackError, message: str, details: Mapping[str, Any] | None = None) -> BacpackError:
    """Return a copy of `error` that says `message`; its class, which sets the exit status, stays the same kind."""
    base = next(kind for kind in type(error).__mro__ if kind.__module__ == __name__)
    copy: BacpackError = base(error.code, message, hint=error.hint, details={**error.details, **(details or {})})
    copy.__cause__ = error
    return copy
