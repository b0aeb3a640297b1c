"""What a program is given by WASI preview 1: arguments, variables, folders, streams.

Its functions are the engine's own but for `proc_exit`, and `engine` links them; `bacpack.content.cid.import_namespace`
lists their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import wasmtime

from bacnode.runtime.run_limits import RunLimits
from bacpack.errors import InputError


@dataclass(frozen=True, slots=True)
class Streams:
    """The files that are a program's standard streams, in place of ours."""

    stdin: Path
    stdout: Path
    stderr: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a program is given: it sees nothing of the machine but this and the standard streams."""

    #: The program's arguments, its own name first.
    arguments: Sequence[str]
    environment: Sequence[tuple[str, str]] = ()
    #: Folders of the host, each with the path under which the program sees it.
    folders: Sequence[tuple[Path, str]] = ()
    limits: RunLimits = field(default_factory=RunLimits)
    streams: Streams | None = None


class ProcessExit(Exception):  # noqa: N818 - an end, not an error
    """The program called `proc_exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def proc_exit(code: int) -> None:
    """End the program, with all 32 bits of its exit code."""
    # Raised through the engine, which unwinds the program, to the caller of its entry point.
    raise ProcessExit(code & 0xFFFFFFFF)


def wasi_config(job: Job) -> wasmtime.WasiConfig:
    """Return what the engine is told of a job; raises `InputError` (`cannot-open-folder`)."""
    config = wasmtime.WasiConfig()
    config.argv = list(job.arguments)
    config.env = list(job.environment)
    if job.streams is None:
        config.inherit_stdin()
        config.inherit_stdout()
        config.inherit_stderr()
    else:
        config.stdin_file = str(job.streams.stdin)
        config.stdout_file = str(job.streams.stdout)
        config.stderr_file = str(job.streams.stderr)
    for host, guest in job.folders:
        try:
            config.preopen_dir(str(host), guest)
        except wasmtime.WasmtimeError as error:
            raise InputError(
                "cannot-open-folder",
                f"the folder `{host}` cannot be given to the program",
                hint="--dir takes a folder that exists and that you may read",
                details={"path": str(host)},
            ) from error
    return config
