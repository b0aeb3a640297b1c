"""What a node says of itself on standard error: lines for people, or JSON, one object a line.

No line holds a token, a cookie, a header, the query of a URL, or an argument, variable or input of a job.
"""

from __future__ import annotations

import datetime
import logging
from typing import Any, Literal, TypeAlias

import msgspec

LogFormat: TypeAlias = Literal["plain", "json"]


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")


def _about(record: logging.LogRecord) -> dict[str, Any]:
    about: dict[str, Any] = getattr(record, "about", {})
    return about


class JsonLines(logging.Formatter):
    """One JSON object a line; what a message is about is a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one message."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class PlainLines(logging.Formatter):
    """Time, level, message, and what it is about as `key=value`; what others have written cannot begin a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one message."""
        about = "".join(f" {key}={_shown(value)}" for key, value in _about(record).items())
        line = f"{_time(record)} {record.levelname.lower()}: {_escaped(record.getMessage())}{about}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text and text.isascii() else ascii(text)


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def start_logs(form: LogFormat, *, requests: bool) -> None:
    """Write warnings and errors, and every request if that is wanted, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    server = logging.getLogger("uvicorn.error")
    # What clients do wrong is answered, and logged by nobody; nor are answers that were cut short on purpose.
    server.setLevel(logging.ERROR)
    server.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], CutShortError)))
    own = logging.getLogger("bacnode")
    own.setLevel(logging.INFO if requests else logging.WARNING)
    for log in (own, server):
        log.handlers = [handler]
        log.propagate = False


class CutShortError(Exception):
    """Content was promised and could not be sent to its end."""
