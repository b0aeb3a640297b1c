"""The errors of the proof: what differs between a blob and its split, and where; and what it cannot follow."""

from __future__ import annotations

from typing import Any

from bacpack.errors import CheckFailedError

_HINT = (
    "is this the blob that was split? If it is, do not run the split: whoever made it may have changed it; "
    "if you made it yourself, please report it with the blob"
)


def not_equivalent(message: str, **details: Any) -> CheckFailedError:
    """The error that says that a split is not its blob; `details` are JSON values."""
    return CheckFailedError("not-equivalent", message, hint=_HINT, details=details)


def not_provable(message: str) -> CheckFailedError:
    """The error that says that nothing is known: the blob does what the proof does not follow."""
    hint = "leave this program out of the split: it can be published and run as it is"
    return CheckFailedError("not-provable", message, hint=hint)
