"""One job as it travels to whoever runs it, and what comes back: plain bytes, read with a schema."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from bacpack.decode import decode_msgpack
from bacpack.errors import Problem

#: `done`: the program ended by itself, whatever its exit code. `failed`: it could not start, or was stopped, or given
#: up; `error` says why. `fetched`: its modules are where it was sent; it is to be sent once more.
JobState: TypeAlias = Literal["done", "failed", "fetched"]


class GivenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the program finds at `path` below its root: its bytes, or where it is on this machine."""

    path: str
    data: bytes | None = None
    host: str | None = None


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    #: The number of the job in what was submitted together.
    number: int
    #: As the person wrote it, and what names the program to another machine.
    ref: str
    target: str
    name: str
    args: list[str] = []
    env: list[tuple[str, str]] = []
    files: list[GivenFile] = []
    #: Folders of this machine, each with the path under which the program sees it.
    folders: list[tuple[str, str]] = []
    #: Files and folders, below the program's root, that are kept when it ends.
    outputs: list[str] = []
    invoke: str | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    output_bytes: int = 16 << 20
    #: Who may be asked for modules, besides those that are known to hold them.
    peers: list[str] = []
    #: The size of each module that it needs, by CID, as far as the sender knows them.
    modules: dict[str, int] = {}
    #: Whether to come back when modules that are missing were fetched, without running the program.
    fetch_first: bool = False
    #: The task that fetched them.
    fetched_by: str | None = None


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a job left."""

    path: str
    data: bytes


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    number: int
    ref: str
    state: JobState
    exit_code: int | None = None
    error: Problem | None = None
    #: What the called function returned, as text.
    results: list[str] = []
    stdout: bytes = b""
    stderr: bytes = b""
    files: list[KeptFile] = []
    #: Who ran it.
    node: str | None = None
    #: How often it was started, and what became of the attempts before the last.
    attempts: int = 1
    lost: list[str] = []
    #: As `bacpack run --report` writes it.
    report: dict[str, Any] | None = None
    #: Bytes that were fetched over the network for it.
    moved_bytes: int = 0


def encode(value: JobSpec | JobResult) -> bytes:
    """Return a job or a result as bytes."""
    return msgspec.msgpack.encode(value)


def decode_spec(data: bytes) -> JobSpec:
    """Read a job."""
    return decode_msgpack(data, JobSpec)


def decode_result(data: bytes) -> JobResult:
    """Read a result."""
    return decode_msgpack(data, JobResult)
