"""The command's own `main`, called in this process: many calls a second, where a process of its own adds nothing."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bacpack.cli import commands


@dataclass(frozen=True)
class Done:
    """What a call ended with; `stdout` and `stderr` as text, as a terminal would get them."""

    status: int
    stdout: str
    stderr: str


def call(home: Path, *arguments: object) -> Done:
    """Call the command with a store of its own. What it raises, a person would see as a traceback."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict") for _ in range(2))
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        mock.patch.dict(os.environ, {"BACPACK_HOME": str(home)}),
        mock.patch.object(commands, "_exit", sys.exit),  # threads of other tests are none that keep it from ending
    ):
        try:
            commands.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0
    out.flush()
    err.flush()
    return Done(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]
