"""A node's folder as after long use: modules that import each other, and jobs that ended; none was run for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bacnode.execution.job import Granted, JobEnd, Submission
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.job_state import State
from bacnode.jobs.database import JobDatabase
from bacpack.content.cid.cid import Cid
from bacpack.content.store.origins import Provenance
from bacpack.errors import Problem
from node.serving import keep

GRANTED = Granted(seconds=300, memory_bytes=1 << 28, fuel=None, output_bytes=1 << 24, file_bytes=1 << 24, files=100)

#: What a page must show as it is, and a browser must not act on.
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"&amp;{{7*7}}\u202egnp"
)


def module(imports: Sequence[str], number: int, size: int = 0) -> bytes:
    """A module that exports `number` and imports that of others; `size` bytes long or a little more."""
    named = b"".join(_text(cid) + _text("number") + b"\x00\x00" for cid in imports)
    body = b"\x00\x41" + _signed(number) + b"\x0b"
    sections = (
        _section(1, b"\x01\x60\x00\x01\x7f"),
        _section(2, _unsigned(len(imports)) + named) if imports else b"",
        _section(3, b"\x01\x00"),
        _section(7, b"\x01" + _text("number") + b"\x00" + _unsigned(len(imports))),
        _section(10, b"\x01" + _unsigned(len(body)) + body),
        _section(0, _text("filler") + number.to_bytes(4, "little") + bytes(size)),
    )
    return b"\0asm\x01\0\0\0" + b"".join(sections)


def fill_modules(store: Path, count: int) -> list[str]:
    """Put so many modules in: about half are programs, which share the others, in layers; return the programs."""
    choose = random.Random(count)
    libraries: list[str] = []
    named: list[tuple[Cid, str]] = []

    def put(name: str, imports: Sequence[str], number: int, size: int) -> str:
        data = module(sorted(imports), number, size)
        cid = Cid.of_raw(data)
        keep(store, {cid: data})
        named.append((cid, name))
        return str(cid)

    for number in range(count - count // 2):
        below = choose.sample(libraries, min(len(libraries), choose.randrange(1, 4)))
        libraries.append(put(f"lib{number:02}.wasm", below, number, choose.randrange(1_000, 200_000)))
    programs = []
    for number in range(count // 2):
        needs = choose.sample(libraries, min(len(libraries), choose.randrange(1, 5)))
        name = f"program-with-a-long-name-{number}.wasm" if number % 5 == 0 else f"tool{number:02}.wasm"
        programs.append(put(name, needs, 1000 + number, choose.randrange(1_000, 50_000)))
    Provenance(store).record(named[::2], "upload")
    Provenance(store).record(named[1::2], "http://127.0.0.1:9")
    return programs


def fill_jobs(store: Path, refs: Sequence[str], count: int) -> list[str]:
    """Keep so many jobs that have ended; return their names, oldest first."""
    choose = random.Random(count)
    names = []
    database = JobDatabase(store)
    try:
        for number in range(count):
            name = choose.randbytes(16).hex()
            folder = JobFolder(store / "jobs" / name)
            submission = Submission(ref=choose.choice(refs), args=["--top", str(number)], env={"SECRET": "env-secret"})
            folder.create(submission)
            folder.stdout.write_bytes(b"".join(b"line %d of job %d\n" % (line, number) for line in range(40)))
            folder.stderr.write_bytes(b"")
            record = database.add(name, submission, GRANTED)
            database.start(record, 1)
            database.finish(record, _state(number), _ending(number, submission.ref), [(submission.ref, "", 1000)])
            names.append(name)
    finally:
        database.close()
    return names


def _state(number: int) -> State:
    return "failed" if number % 7 == 3 else "cancelled" if number % 11 == 5 else "done"


def _ending(number: int, ref: str) -> JobEnd:
    modules: list[dict[str, Any]] = [
        {
            "cid": ref,
            "name": ref,
            "bytes": 1000 * at + 500,
            "source": "peer" if at == 1 else "store",
            "fetched_from": "http://127.0.0.1:9" if at == 1 else "/store",
            "fetch_ms": 12.5 if at == 1 else 0.0,
            "verified": True,
            "compile_ms": 0.0 if at else 30.1,
            "compiled_cached": bool(at),
        }
        for at in range(3)
    ]
    error = Problem("trap", "the program divided by zero") if number % 7 == 3 else None
    return JobEnd(
        exit_code=134 if error else number % 3,
        error=error,
        stdout_bytes=100,
        report={"schema": 1, "modules": modules, "load_ms": 42.0, "run_ms": 100.5, "trap": None, "attempts": 1},
    )


def _unsigned(value: int) -> bytes:
    parts = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        parts.append(low | (0x80 if value else 0))
        if not value:
            return bytes(parts)


def _signed(value: int) -> bytes:
    # With a byte more than it may need, for the sign.
    return bytes((value >> 7 * at & 0x7F) | 0x80 for at in range(4)) + b"\x00"


def _text(text: str) -> bytes:
    return _unsigned(len(text.encode())) + text.encode()


def _section(number: int, body: bytes) -> bytes:
    return bytes((number,)) + _unsigned(len(body)) + body
