"""What placement by modules saves: bytes that move, and time until a job starts, on a cluster of processes.

Run `python benchmarks/scheduling.py [--jobs N] [--nodes N]`: it takes some minutes. Jobs come as a stream, at even
intervals, whether or not those before have ended; `far_worker.py` is a node with a network of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dask
from distributed import Client, LocalCluster

import plots
from bacnode.fetch.session import Web
from bacnode.programs.closure import Closure, closure_of, keep
from bacnode.schedulers.dask.block_server import BlockServer
from bacnode.schedulers.dask.client import DaskEngine
from bacnode.schedulers.dask.local_cluster import SETTINGS
from bacnode.schedulers.job_message import JobSpec
from bacnode.schedulers.submitted_jobs import SubmittedJob
from bacpack.content.store.block_store import BlockStore
from corpora import image_blobs, images, split_of
from measure import Busy, machine, table
from simulate import Policy, Program, simulate, zipf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POLICIES: tuple[Policy, ...] = ("modules", "load", "random")
NAMES = {"modules": "by modules", "load": "Dask without modules", "random": "random"}
#: Of each node's network: bytes a second that come in, and seconds until an answer begins.
RATE, LATENCY = 2e6, 0.01
#: Seconds that a cluster is given until all of its processes have become quiet.
SETTLE = 4.0
#: Seconds from one job of the stream to the next.
INTERVAL = 0.1
#: Seconds that a simulated job runs, and that Dask takes a job to run until one has ended.
RUN_SECONDS = 0.02
JOBS, NODES = 500, 16
SIMULATED = (10, 100, 1_000, 10_000)
FAR_WORKER = Path(__file__).with_name("far_worker.py")


@dataclass(frozen=True)
class Result:
    """What a stream of jobs cost: bytes that were fetched, and seconds from a job's coming until its program runs."""

    form: str
    policy: Policy
    nodes: int
    moved_bytes: int
    start: float


@contextmanager
def cluster(folder: Path, cache: Path, nodes: int, *, announce: bool) -> Iterator[Client]:
    """A scheduler in this process, and nodes in others that hold nothing."""
    settings = {
        **SETTINGS,
        "distributed.scheduler.bandwidth": RATE,
        "distributed.scheduler.default-task-durations": {"bacpack-job": f"{RUN_SECONDS}s"},
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=0, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        workers = []
        for number in range(nodes):
            options = {
                "folder": str(folder / f"node-{number}"), "cache": str(cache), "name": f"node-{number}",
                "bandwidth": RATE, "announce": announce,
            }  # fmt: skip
            line = [sys.executable, str(FAR_WORKER), str(RATE), str(LATENCY), local.scheduler_address]
            workers.append(
                subprocess.Popen(
                    [*line, json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, env=os.environ,
                )
            )  # fmt: skip
        try:
            for worker in workers:
                assert worker.stdout is not None and worker.stdout.readline()
            time.sleep(SETTLE)  # nothing tells when they have become quiet
            yield client
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()


def measure(
    form: str, closures: Sequence[Closure], stream: Sequence[int], policy: Policy, nodes: int, origin: BlockServer,
    cache: Path,
) -> Result:  # fmt: skip
    """Send a stream of jobs, one after the other at even intervals, whether or not those before have ended."""
    chance = random.Random(1)
    came: dict[int, float] = {}
    began: dict[int, float] = {}
    by_modules = policy == "modules"
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), cache, nodes, announce=by_modules) as client:
        names = [f"node-{number}" for number in range(nodes)]
        first = time.monotonic() + INTERVAL

        def on_send(job: SubmittedJob) -> None:
            number = job.spec.number
            came[number] = first + number * INTERVAL
            time.sleep(max(came[number] - time.monotonic(), 0))

        engine = DaskEngine(
            client, by_modules=by_modules, ensure=None, peers=(origin.url,), on_send=on_send, window=len(stream),
            on_begin=lambda number, _worker: began.update({number: time.monotonic()}),
            bind=(lambda job: chance.choice(names)) if policy == "random" else lambda job: None,
        )  # fmt: skip
        jobs = [
            SubmittedJob(JobSpec(number=at, ref=c.ref, target=c.target, name=c.name, args=["--help"], seconds=60), c)
            for at, c in enumerate(closures[number] for number in stream)
        ]
        moved, starts = 0, []
        for result in engine.run(jobs):
            assert result.report is not None, result
            moved += result.moved_bytes
            starts.append(began[result.number] - came[result.number])
    return Result(form, policy, nodes, moved, sum(starts) / len(starts))


def programs_of(closures: Sequence[Closure]) -> list[Program]:
    return [Program(dict(closure.sizes), RUN_SECONDS) for closure in closures]


def closures_in(paths: Sequence[Path], store: BlockStore) -> list[Closure]:
    found = [closure_of(str(path), store, Web(offline=True)) for path in paths]
    for closure in found:
        keep(closure.graph, store)
    return found


def warm(closures: Sequence[Closure], cache: Path, store: BlockStore) -> None:
    """Compile everything once, into the cache that all nodes share: two processors are to be no part of the answer."""
    from bacnode.runtime.code_cache import open_cache
    from bacnode.runtime.engine import Runtime

    runtime = Runtime(interruptible=True, cache=open_cache(cache))
    for closure in closures:
        for node in closure.graph.nodes:
            runtime.compile(node)
        runtime.keep_at_most(100)


def measured(jobs: int, nodes: int) -> tuple[list[Result], list[Result]]:
    """Run the stream on a cluster for each form and placement, then simulate it on more and more nodes."""
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        store, cache = BlockStore(Path(scratch, "store")), Path(scratch, "cache")
        cache.mkdir()
        forms: dict[str, list[Closure]] = {
            "split": closures_in(sorted(split_of(images()).folder.glob("*.wasm")), store),
            "whole": closures_in(sorted(image_blobs().values()), store),
        }
        stream = zipf(len(forms["split"]), jobs)
        with BlockServer(store) as origin:
            for form, closures in forms.items():
                warm(closures, cache, store)
                for policy in POLICIES:
                    found.append(measure(form, closures, stream, policy, nodes, origin, cache))
                    print(f"  {found[-1]}", file=sys.stderr, flush=True)
        return found, list(_simulated(forms, stream))


def _simulated(forms: dict[str, list[Closure]], stream: Sequence[int]) -> Iterator[Result]:
    for nodes in SIMULATED:
        for form, closures in forms.items():
            for policy in POLICIES:
                found = simulate(
                    programs_of(closures), stream, nodes, policy, bandwidth=RATE, interval_seconds=INTERVAL
                )
                yield Result(form, policy, nodes, found.moved_bytes, found.mean_start_seconds)


def draw(found: Sequence[Result], simulated: Sequence[Result]) -> Figure:
    """Bytes and seconds to start of each placement, split and whole; and the bytes by the number of nodes."""
    figure, (moved, start, grown) = plots.figure_with(1, 3, 3.1, width_ratios=(1, 1, 1.2))
    colours = {"modules": plots.BLUE, "load": plots.YELLOW, "random": plots.GREY}
    for axes, value, label in ((moved, lambda one: one.moved_bytes / 1e6, "MB moved"),
                               (start, lambda one: one.start * 1000, "ms to start, mean")):  # fmt: skip
        for at, policy in enumerate(POLICIES):
            heights = [value(one) for one in found if one.policy == policy]
            axes.bar([place + (at - 1) * 0.27 for place in range(2)], heights, 0.25, color=colours[policy],
                     label=NAMES[policy])  # fmt: skip
        axes.set_xticks(range(2), ["split", "whole"])
        axes.set_title(label)
        axes.grid(axis="y")
    moved.margins(y=0.5)  # room for the legend
    moved.legend(loc="upper left")
    for policy in POLICIES:
        for form, style in (("split", "-"), ("whole", ":")):
            points = [one for one in simulated if (one.policy, one.form) == (policy, form)]
            grown.plot([one.nodes for one in points], [one.moved_bytes / 1e6 for one in points], style,
                       color=colours[policy], marker="o", markersize=3.5)  # fmt: skip
    grown.set_xscale("log")
    grown.set_yscale("log")
    grown.set_xlabel("nodes; whole blobs dotted")
    grown.set_title("MB moved, simulated")
    grown.grid(axis="both")
    return figure


def report(picture: plots.Picture = plots.no_picture, jobs: int = JOBS, nodes: int = NODES) -> str:
    """Measure and describe the result in Markdown."""
    busy = Busy()
    found, simulated = measured(jobs, nodes)
    by = {(one.form, one.policy): one for one in found}
    image = picture(
        "bench-scheduling",
        "Bytes moved and time to start, by modules, by Dask without modules and at random, split and whole",
        lambda: draw(found, simulated),
    )
    split, whole = by["split", "modules"], by["whole", "modules"]
    return f"""## Scheduling

{jobs} jobs of the 42 image programs, popular as Zipf's law has it, come every {INTERVAL * 1000:g} ms to {nodes} nodes
that hold nothing. Each is a process with a store of its own, to which {RATE * 8 / 1e6:g} Mbit/s come in, each answer
{LATENCY * 1000:g} ms late; that is done in the transport. What no node gives comes from one origin. Jobs print their
help; all is compiled before, since one machine has the processors of one. Time to start is from a job's coming until
its program runs. {busy}
{image}
{table(_HEADING, [_row(one) for one in found])}

Split, placement by modules moves **{split.moved_bytes / by["split", "random"].moved_bytes:.0%}** of what random
placement moves, and **{split.moved_bytes / whole.moved_bytes:.0%}** of what it moves itself with whole blobs.

The same stream simulated, with the objective and Dask's choice among workers as they are, and jobs of
{RUN_SECONDS * 1000:g} ms; the scheduler knows at once what each node holds, and nothing fails:

{table(_HEADING, [_row(one) for one in simulated])}
"""


def _row(one: Result) -> list[str]:
    cells = [f"{one.nodes:,}", f"{one.moved_bytes / 1e6:.1f}", f"{one.start * 1000:.0f}"]
    return [f"{one.form}, {NAMES[one.policy]}", *cells]


_HEADING = ["programs, placement", "nodes", "MB moved", "ms to start, mean"]


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--nodes", type=int, default=NODES)
    options = parser.parse_args()
    print(machine())
    print(report(jobs=options.jobs, nodes=options.nodes))


if __name__ == "__main__":
    main()
