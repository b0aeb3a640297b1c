"""Run all benchmarks, print them and write `docs/benchmarks.md` and its plots: `make bench`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import car
import catalog
import corpus_speed
import next_job
import publish
import run_time
import sizes
import split_speed
import start_up
from bacpack import __version__
from corpora import ROOT
from measure import LeftOutError, machine
from plots import Picture, no_picture, pictures_in

#: The benchmarks in the order of the page: the first four are what the project is for.
ALL: dict[str, Callable[[Picture], str]] = {
    "sizes": sizes.report,
    "next_job": next_job.report,
    "run_time": run_time.report,
    "corpus_speed": corpus_speed.report,
    "split_speed": lambda _picture: split_speed.report(),
    "catalog": lambda _picture: catalog.report(),
    "car": lambda _picture: car.report(),
    "publish": lambda _picture: publish.report(),
    "start_up": lambda _picture: start_up.report(),
}
INTRODUCTION = """# Benchmarks

Measured on {date} with bacpack {version} on: {machine}. Seconds differ between machines; ratios are of runs that took
turns on one, so they hold where seconds drift. Each part says how busy the machine was.

`make bench` measures all of it anew and writes this page, in {minutes:.0f} minutes here; `python benchmarks/sizes.py`,
or another file of that folder, measures one part and prints it. The programs are those of PyPI packages and of this
repository. What a part needs and the machine lacks is left out, and the part says so: programs in Go need `go`, the
comparison with Binaryen needs `wasm-split` (`apt-get install binaryen`).
"""


def main() -> None:
    """Run them in turn, so that none disturbs another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ALL, help="print some parts, and write nothing")
    only = parser.parse_args().only
    started = time.monotonic()
    picture = no_picture if only else pictures_in(ROOT / "docs" / "_static")
    parts = []
    for name, report in ALL.items():
        if only and name not in only:
            continue
        print(f"running {name}", file=sys.stderr)
        try:
            part = report(picture)
        except LeftOutError as error:
            part = f"## {name.replace('_', ' ').capitalize()}\n\nLeft out: {error}."
        print(part + "\n")
        parts.append(part.rstrip() + "\n")
    minutes = (time.monotonic() - started) / 60
    date = datetime.now(UTC).date().isoformat()
    introduction = INTRODUCTION.format(date=date, version=__version__, machine=machine(), minutes=minutes)
    if not only:
        (ROOT / "docs" / "benchmarks.md").write_text("\n".join([introduction, *parts]), encoding="utf-8")


if __name__ == "__main__":
    main()
