"""What placement by modules saves: bytes that move, and time until a job starts, on a cluster of processes.

Run `python benchmarks/scheduling.py [--split DIR] [--jobs N] [--nodes N]`; DIR is what `bacpack split` wrote of the 42
image programs. Nodes begin empty. Each sends at a limited rate, as does the origin; that is the only network there is.
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
from typing import Any

import dask
from distributed import Client, LocalCluster

from bacnode.schedulers.block_server import BlockServer
from bacnode.schedulers.closure import Closure, closure_of, keep
from bacnode.schedulers.dask_engine import DaskEngine
from bacnode.schedulers.local_engine import SETTINGS
from bacnode.schedulers.orders import Order
from bacnode.schedulers.simulate import Policy, Program, simulate, zipf
from bacnode.schedulers.spec import JobSpec
from bacnode.web import Web
from bacpack.content.store import BlockStore
from corpora import image_blobs, images, split_of
from measure import machine, table

POLICIES: tuple[Policy, ...] = ("modules", "load", "random")
NAMES = {"modules": "by modules", "load": "Dask without keys of modules", "random": "random"}
#: Bytes a second that a node, and the origin, sends.
NODE_RATE, ORIGIN_RATE = 4e6, 16e6
#: Bytes a second of a simulated node's network, seconds that a simulated job runs, and between two jobs.
BANDWIDTH, RUN_SECONDS, INTERVAL = 4e6, 0.05, 0.05
SIMULATED = (10, 100, 1_000, 10_000)


@dataclass(frozen=True)
class Result:
    form: str
    policy: Policy
    nodes: int
    moved_bytes: int
    #: Seconds from sending a job until its program runs.
    start: float
    seconds: float


@contextmanager
def cluster(folder: Path, cache: Path, nodes: int) -> Iterator[Client]:
    settings = {
        **SETTINGS,
        "distributed.scheduler.bandwidth": NODE_RATE,
        "distributed.scheduler.default-task-durations": {"bacpack-job": "50ms"},
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
                "rate": NODE_RATE, "bandwidth": NODE_RATE,
            }  # fmt: skip
            line = [sys.executable, "-m", "bacnode.schedulers.worker_process", local.scheduler_address]
            workers.append(
                subprocess.Popen(
                    [*line, json.dumps(options)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=os.environ,
                )
            )
        try:
            for worker in workers:
                assert worker.stdout is not None and worker.stdout.readline()
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
    chance = random.Random(1)
    sent: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), cache, nodes) as client:
        names = [f"node-{number}" for number in range(nodes)]

        def on_send(order: Order) -> None:
            sent[order.spec.number] = time.monotonic()

        engine = DaskEngine(
            client, by_modules=policy == "modules", ensure=None, peers=(origin.url,), on_send=on_send,
            bind=(lambda order: chance.choice(names)) if policy == "random" else lambda order: None,
        )  # fmt: skip
        orders = [
            Order(JobSpec(number=at, ref=c.ref, target=c.target, name=c.name, seconds=60), c)
            for at, c in enumerate(closures[number] for number in stream)
        ]
        started = time.monotonic()
        moved, starts = 0, []
        for result in engine.run(orders):
            assert result.report is not None, result
            moved += result.moved_bytes
            starts.append(time.monotonic() - sent[result.number] - result.report["run_ms"] / 1000)
        seconds = time.monotonic() - started
    return Result(form, policy, nodes, moved, sum(starts) / len(starts), seconds)


def programs_of(closures: Sequence[Closure]) -> list[Program]:
    return [Program(dict(closure.sizes), RUN_SECONDS) for closure in closures]


def closures_in(paths: Sequence[Path], store: BlockStore) -> list[Closure]:
    found = [closure_of(str(path), store, Web(offline=True)) for path in paths]
    for closure in found:
        keep(closure.graph, store)
    return found


def warm(closures: Sequence[Closure], cache: Path, store: BlockStore) -> None:
    """Compile everything once, into the cache that all nodes share: two processors are to be no part of the answer."""
    from bacnode.compiled import open_cache
    from bacnode.runtime import Runtime

    runtime = Runtime(interruptible=True, cache=open_cache(cache))
    for closure in closures:
        for node in closure.graph.nodes:
            runtime.compile(node)
        runtime.keep_at_most(100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, help="folder of a split of the 42 image programs")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--only-simulate", action="store_true")
    options = parser.parse_args()
    split = options.split or split_of(images()).folder
    with tempfile.TemporaryDirectory() as scratch:
        store, cache = BlockStore(Path(scratch, "store")), Path(scratch, "cache")
        cache.mkdir()
        forms: dict[str, list[Closure]] = {
            "split": closures_in(sorted(split.glob("*.wasm")), store),
            "whole": closures_in(sorted(image_blobs().values()), store),
        }
        stream = zipf(len(forms["split"]), options.jobs)
        print(machine())
        if not options.only_simulate:
            rows: list[list[str]] = []
            with BlockServer(store, rate=ORIGIN_RATE) as origin:
                for form, closures in forms.items():
                    warm(closures, cache, store)
                    for policy in POLICIES:
                        result = measure(form, closures, stream, policy, options.nodes, origin, cache)
                        rows.append(_row(form, policy, result.nodes, result.moved_bytes, result.start))
                        print(rows[-1], f"{result.seconds:.1f} s", file=sys.stderr, flush=True)
            print(f"\nMeasured: {options.jobs} jobs, {options.nodes} nodes\n")
            print(table(_HEADING, rows))
        print(f"\nSimulated: {options.jobs} jobs\n")
        print(table(_HEADING, list(_simulated(forms, stream))))


_HEADING = ["programs", "placement", "nodes", "MB moved", "ms to start, mean"]


def _simulated(forms: dict[str, list[Closure]], stream: Sequence[int]) -> Iterator[list[str]]:
    for count in SIMULATED:
        for form, closures in forms.items():
            for policy in POLICIES:
                found: Any = simulate(
                    programs_of(closures), stream, count, policy, bandwidth=BANDWIDTH, interval_seconds=INTERVAL
                )
                yield _row(form, policy, count, found.moved_bytes, found.mean_start_seconds)


def _row(form: str, policy: Policy, nodes: int, moved: int, start: float) -> list[str]:
    return [form, NAMES[policy], f"{nodes:,}", f"{moved / 1e6:.1f}", f"{start * 1000:.0f}"]


if __name__ == "__main__":
    main()
