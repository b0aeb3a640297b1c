"""Errors as the JSON that reports and answers carry."""

from __future__ import annotations

from typing import Any

from bacpack.errors import BacpackError


def problem(error: BacpackError) -> dict[str, Any]:
    """Return what an answer says of an error."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}
