"""How pages write sizes, times, names and what programs printed."""

from __future__ import annotations

import datetime
import re
import unicodedata

from bacpack.text import human_bytes

#: Characters of a name that are shown; more hides the rest of the page.
MAX_NAME = 120

#: What tells a terminal of colours, titles and the like.
_TERMINAL = re.compile(r"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\))")


def size(count: int | None) -> str:
    """Bytes as people write them."""
    return "not told" if count is None else human_bytes(count)


def moment(text: str | None) -> str:
    """A time, to the second, in UTC."""
    return "" if text is None else text.replace("T", " ")[:19]


def duration(seconds: float | None) -> str:
    """How long something took."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def between(start: str | None, end: str | None) -> float | None:
    """Seconds from one time to another; None if either is not known."""
    if start is None or end is None:
        return None
    parsed = [datetime.datetime.fromisoformat(text) for text in (start, end)]
    return max(0.0, (parsed[1] - parsed[0]).total_seconds())


def short(cid: str) -> str:
    """A CID or other long name by its ends."""
    return cid if len(cid) <= 20 else f"{cid[:9]}…{cid[-7:]}"


def name(text: str, most: int = MAX_NAME) -> str:
    """A name that others gave: without what is invisible or turns text around, and not endless."""
    cleaned = "".join(c if _is_plain(c) else "�" for c in text[: most + 1])
    return cleaned if len(text) <= most else f"{cleaned[: most - 1]}…"


def fitted(text: str, most: int) -> str:
    """A name of so many characters: the end says as much as the beginning."""
    cleaned = name(text, 1000)
    if len(cleaned) <= most:
        return cleaned
    end = (most - 1) // 2
    return f"{cleaned[: most - 1 - end]}…{cleaned[-end:]}"


def printed(data: bytes) -> str:
    """What a program printed, as text: without colours, and with a mark for what cannot be shown."""
    text = _TERMINAL.sub("", data.decode("utf-8", "replace").replace("\r\n", "\n"))
    return "".join(c if c in "\n\t" or _is_plain(c) else "�" for c in text)


def _is_plain(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
