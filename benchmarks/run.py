"""Run all benchmarks, print them and write `docs/benchmarks.md`: `make bench`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the corpus is found where the tests find it

import car  # noqa: E402 - after the path is set, as those below
import catalog  # noqa: E402
import sizes  # noqa: E402
import split_speed  # noqa: E402
import start_up  # noqa: E402
from measure import machine  # noqa: E402

INTRODUCTION = """# Benchmarks

Measured by `make bench` on: {machine}. Seconds differ between machines; ratios are of runs that took turns on one.
"""


def main() -> None:
    """Run them in turn, so that none disturbs another."""
    parts = [INTRODUCTION.format(machine=machine())]
    for benchmark in (sizes, split_speed, catalog, car, start_up):
        print(f"running {benchmark.__name__}", file=sys.stderr)
        part = benchmark.report()
        print(part + "\n")
        parts.append(part + "\n")
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
