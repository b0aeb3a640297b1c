"""What a node saves by sharing: time until a job starts, and memory of jobs that are resident together.

Run `python benchmarks/jobs.py [--split DIR]`; DIR is what `bacpack split` wrote of the 42 image programs. Both sides of
a comparison run in turn, so that the rest of the machine is the same to them; what counts is their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bacnode.execution.child_process import Answer, ChildProcess
from bacnode.execution.job import Granted, Submission
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.messages import Prepare, Prepared, Run
from bacnode.runtime.plan import Plan
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.writer import build_file
from corpora import image_blobs, images, split_of
from measure import Busy, LeftOutError, median, table
from nodes import Node, cpu_seconds, running

PROGRAM = "png-read-image.wasi"
ROUNDS = 3
#: What the project asks for: a start in a sixth of the time, towards a tenth, and a quarter of the memory.
REQUIRED_START, WANTED_START, REQUIRED_MEMORY = 1 / 6, 1 / 10, 1 / 4
MIB = 1 << 20


@dataclass(frozen=True)
class Memory:
    """The proportional set size of a process, and how much of it is compiled modules, mapped from their files."""

    total: int
    code: int


@dataclass(frozen=True)
class Result:
    """Milliseconds from submitting to the first output; memory of 42 jobs together in one worker."""

    split_ms: float
    blob_ms: float
    split: Memory
    blob: Memory

    @property
    def start(self) -> float:
        return self.split_ms / self.blob_ms


def put(store: BlockStore, data: bytes) -> str:
    """Store a file; return its CID."""
    with store.batch() as batch:
        return str(build_file(io.BytesIO(data), batch.put).cid)


def first_output(node: Node, ref: str, arguments: Sequence[str]) -> float:
    """Submit a job; return the milliseconds until the first byte of what it prints has come."""
    connection = http.client.HTTPConnection(*node.address, timeout=300)
    started = time.perf_counter()
    connection.request("POST", "/api/v1/jobs", json.dumps({"ref": ref, "args": arguments}))
    job = json.loads(connection.getresponse().read())["id"]
    connection.request("GET", f"/api/v1/jobs/{job}/logs?follow=1")
    answer = connection.getresponse()
    first = answer.read(1)
    took = (time.perf_counter() - started) * 1000
    answer.read()
    connection.request("GET", f"/api/v1/jobs/{job}")
    ended = json.loads(connection.getresponse().read())
    connection.close()
    assert first and ended["state"] == "done", ended
    return took


def like(program: bytes, number: int) -> bytes:
    """The same program under another CID: with a custom section that means nothing."""
    text = b"%06d" % number
    return program + bytes([0, len(text) + 2, 1]) + b"n" + text


def start_times(split: Path, rounds: int) -> tuple[float, float]:
    """Median times to start a program of which all but its own remainder is compiled, and the blob of it."""
    program = (split / f"{PROGRAM}.wasm").read_bytes()
    blob = image_blobs()[PROGRAM].read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer_store = BlockStore(folder / "peer")
        for path in (split / "modules").glob("*.wasm"):
            put(peer_store, path.read_bytes())
        programs = [put(peer_store, like(program, number)) for number in range(rounds + 1)]
        # A blob of another CID each time: one that was never seen.
        blobs = [put(peer_store, like(blob, number)) for number in range(rounds)]
        tiny = put(peer_store, _TINY)
        times: tuple[list[float], list[float]] = ([], [])
        with running(folder / "peer") as peer, running(folder / "here", "--peer", peer.url, "--workers", "1") as node:
            # Brings its modules, and processes that are running, to both.
            first_output(node, programs[rounds], ["--help"])
            first_output(node, tiny, [])
            for number in range(rounds):
                times[0].append(first_output(node, programs[number], ["--help"]))
                times[1].append(first_output(node, blobs[number], ["--help"]))
        return median(times[0]), median(times[1])


async def resident(programs: dict[str, bytes], modules: Sequence[bytes]) -> Memory:
    """Run all programs together in one worker until each waits for its input; return the memory they take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = BlockStore(folder / "store")
        for module in modules:
            put(store, module)
        cids = {name: put(store, data) for name, data in programs.items()}
        plans = await _plans(folder, cids)
        worker = await ChildProcess.start("bacnode.execution.worker_process", folder / "cache", os.getpid())
        tasks: list[asyncio.Task[Answer]] = []
        try:
            idle = _settled(worker.pid)
            tasks = [
                asyncio.create_task(worker.request(_run(folder, name, plan), name)) for name, plan in plans.items()
            ]
            await asyncio.sleep(1)
            taken = await asyncio.to_thread(_settled, worker.pid)
            ended = [task.result() for task in tasks if task.done()]
            assert not ended, [answer.job for answer in ended]
            return Memory(taken.total - idle.total, taken.code - idle.code)
        finally:
            for task in tasks:
                task.cancel()
            await worker.close()


async def _plans(folder: Path, cids: dict[str, str]) -> dict[str, Plan]:
    preparer = await ChildProcess.start(
        "bacnode.execution.prepare_process", folder / "store", folder / "cache", os.getpid()
    )
    plans = {}
    for name, cid in cids.items():
        submission = Submission(ref=cid)
        answer = await preparer.request(
            Prepare(job=name, submission=submission, folder=str(folder), fueled=False), name
        )
        assert isinstance(answer, Prepared) and answer.plan is not None, answer
        plans[name] = answer.plan
    await preparer.close()
    return plans


def _run(folder: Path, name: str, plan: Plan) -> Run:
    job = JobFolder(folder / "jobs" / name)
    job.create(Submission(ref=""))
    job.begin()
    format_name = name.removesuffix("-read-image.wasi")
    file = f"in.{_ENDINGS.get(format_name, format_name)}" if "read" in name else "in.iwi.cbor"
    # The program waits where it opens one of these, all set up: nobody is ever at the other end. One reader looks at
    # the size of its input first and opens only its output.
    os.mkfifo(job.root / file)
    os.mkfifo(job.root / "out.json")
    return Run(
        job=name,
        plan=plan,
        folder=str(job.path),
        arguments=[name, file, "out.json", "out"],
        environment=[],
        limits=Granted(seconds=600, memory_bytes=256 * MIB, fuel=None, output_bytes=MIB, file_bytes=MIB, files=100),
    )


def _settled(pid: int) -> Memory:
    """Wait until a process does nothing; return its memory."""
    before = -1.0
    while (now := cpu_seconds(pid)) - before > 0.05:
        before = now
        time.sleep(1)
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError as error:
        # A worker hides its memory from others of its user.
        raise LeftOutError("only root is told the memory of a worker, and only Linux tells it") from error
    total = code = 0
    is_code = False
    for line in lines:
        if line.startswith("Pss:"):
            size = int(line.split()[1]) << 10
            total, code = total + size, code + size * is_code
        elif not line.split()[0].endswith(":"):
            is_code = "/compiled/" in line
    return Memory(total, code)


def measure(split: Path | None = None, rounds: int = ROUNDS) -> Result:
    """Measure all of it, on a split of the 42 image programs."""
    split = split or split_of(images()).folder
    split_ms, blob_ms = start_times(split, rounds)
    names = list(image_blobs())
    modules = [path.read_bytes() for path in (split / "modules").glob("*.wasm")]
    remainders = {name: (split / f"{name}.wasm").read_bytes() for name in names}
    blobs = {name: path.read_bytes() for name, path in image_blobs().items()}
    return Result(
        split_ms,
        blob_ms,
        asyncio.run(resident(remainders, modules)),
        asyncio.run(resident(blobs, [])),
    )


def describe(result: Result) -> str:
    """The figures as Markdown."""
    split, blob = result.split, result.blob
    asked = f"1/{1 / REQUIRED_START:.0f}, towards 1/{1 / WANTED_START:.0f}"
    rows = [
        ["from submitting to the first output, ms", *_compared(result.split_ms, result.blob_ms), asked],
        ["42 jobs in one worker, MiB", *_compared(split.total / MIB, blob.total / MIB), f"1/{1 / REQUIRED_MEMORY:.0f}"],
        ["of that compiled modules", *_compared(split.code / MIB, blob.code / MIB), ""],
        ["of that all else", *_compared(_else(split), _else(blob)), ""],
    ]
    return table(["", "split", "blob", "ratio", "asked for"], rows)


def _compared(split: float, blob: float) -> list[str]:
    return [f"{split:.0f}", f"{blob:.0f}", f"1/{blob / split:.1f}"]


def _else(memory: Memory) -> float:
    return (memory.total - memory.code) / MIB


def report(split: Path | None = None, rounds: int = ROUNDS) -> str:
    """Measure, and describe the result in Markdown."""
    busy = Busy()
    found = describe(measure(split, rounds))
    return f"""## Jobs on a node

A node that holds compiled what others of the 42 image programs use starts one of which it lacks the remainder,
`{PROGRAM}`; beside it, the blob, which it never saw. Then all 42 are in one worker together, each set up and
waiting for its input. Memory is the proportional set size less that of a worker without jobs.
{busy}

{found}
"""


#: What readers take for a file of theirs, where it is not their name.
_ENDINGS = {"bio-rad": "pic", "meta": "mha", "nifti": "nii", "wasm": "iwi.cbor", "wasm-zstd": "iwi.cbor.zst"}

#: Prints a dot, so that processes run before anything is measured.
_TINY = bytes.fromhex(
    "0061736d01000000010c0260047f7f7f7f017f60000002230116776173695f736e617073686f745f70726576696577310866"
    "645f77726974650000030201010503010001071302066d656d6f72790200065f737461727400010a1d011b00410041103602"
    "0041044101360200410141004101410810001a0b0b07010041100b012e000b046e616d65010401000177"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, help="folder of a split of the 42 image programs")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    try:
        print(report(options.split, options.rounds))
    except LeftOutError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
