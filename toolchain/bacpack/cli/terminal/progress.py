"""How far a long piece of work is, on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

from bacpack.cli.terminal.streams import printable, say
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

#: `tty` draws a bar, `plain` prints lines, `quiet` shows nothing.
Style: TypeAlias = Literal["tty", "plain", "quiet"]

#: What takes less than this shows nothing, in seconds.
_BAR_AFTER, _LINE_AFTER = 1.0, 5.0
#: Seconds between two updates of the bar, and between two lines.
_BAR_EVERY, _LINE_EVERY = 0.1, 5.0
#: The rate is that of the last so many seconds.
_RATE_SECONDS = 10.0


class Progress:
    """Shows how far one piece of work is. Call it as the work goes on, from any thread:

        show("3 of 42 programs")             what is done, in words
        show(done_bytes, "3 of 42 blocks")   also in bytes, which gives a rate, and a bar if the total is known
        show.add(block_bytes)                so many bytes more
        show.waiting("block bafk…", "http://peer.example")

    Calls cost next to nothing until it is time to show something.
    """

    def __init__(self, doing: str, total_bytes: int | None, style: Style, *, color: bool = False) -> None:
        #: May be set as soon as it is known.
        self.total_bytes = total_bytes
        self._doing = printable(doing)
        self._shows = style != "quiet"
        self._draws = style == "tty"
        self._color = color
        self._done: int | None = None
        self._text = ""
        self._waiting = ""
        self._lock = threading.RLock()
        self._begun = time.monotonic()
        self._next = self._begun + (_BAR_AFTER if style == "tty" else _LINE_AFTER)
        self._seen = deque([(self._begun, 0)])
        self._bar: Bar | None = None
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None

    def __call__(self, done: int | str, text: str | None = None) -> None:
        """Show what is done: bytes, or words, or both."""
        if isinstance(done, int):
            self._done = done
        else:
            text = done
        if text is not None:
            self._text = text
        self._waiting = ""
        self._show_if_due()

    def add(self, count: int, text: str | None = None) -> None:
        """Show that `count` bytes more are done."""
        with self._lock:
            self._done = (self._done or 0) + count
        self(self._done, text)

    def waiting(self, what: str, whom: str) -> None:
        """Show, until the next call, that nothing goes on before `what` comes from `whom`."""
        self._waiting = f"waiting for {what} from {whom}"
        if self._ticker is None and self._shows:
            # While something is awaited nobody calls. There is no thread otherwise: other work may fork.
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def pause(self) -> None:
        """Take the bar off the terminal, for a line of text; the next update brings it back."""
        with self._lock:
            if self._bar:
                self._bar.stop()
                self._bar = None

    def end(self) -> None:
        """Show nothing more."""
        self._shows = False
        self._ended.set()
        self.pause()
        if self._ticker:
            self._ticker.join()

    def _tick(self) -> None:
        while not self._ended.wait(_BAR_EVERY):
            self._show_if_due()

    def _show_if_due(self) -> None:
        if not self._shows or time.monotonic() < self._next:
            return
        with self._lock:
            now = time.monotonic()
            if not self._shows or now < self._next:
                return
            line = self._line(now)
            if self._draws:
                self._next = now + _BAR_EVERY
                self._draw(line)
            else:
                self._next = now + _LINE_EVERY
                say(f"{self._doing}: {line}" if line else self._doing, err=True)

    def _line(self, now: float) -> str:
        facts = []
        if self._done is not None:
            self._seen.append((now, self._done))
            while len(self._seen) > 2 and self._seen[1][0] < now - _RATE_SECONDS:
                self._seen.popleft()
            since, before = self._seen[0]
            rate = max(self._done - before, 0) / max(now - since, 1e-3)
            total = f" of {human_bytes(self.total_bytes)}" if self.total_bytes else ""
            facts += [f"{human_bytes(self._done)}{total}", f"{human_bytes(round(rate))}/s"]
        return printable(", ".join(fact for fact in [*facts, self._text, self._waiting] if fact))

    def _draw(self, line: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            console = Console(stderr=True, force_terminal=True, no_color=not self._color, highlight=False)
            words = TextColumn("{task.fields[line]}", markup=False, table_column=Column(no_wrap=True, ratio=1))
            self._bar = Progress(
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=40)),
                BarColumn(16),
                words,
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                expand=True,
            )
            self._bar.add_task(self._doing, total=None, line="")
            self._bar.start()
        total = self.total_bytes or None if self._done is not None else None
        self._bar.update(self._bar.task_ids[0], total=total, completed=self._done or 0, line=line)
        self._bar.refresh()
