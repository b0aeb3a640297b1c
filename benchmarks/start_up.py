"""How long the command takes to start: `bacpack --help`, beside Python doing nothing."""

from __future__ import annotations

import sys

from measure import BACPACK, in_turn, median, table

ROUNDS = 15


def report() -> str:
    """Run both in turn and describe the result in Markdown."""
    own, bare = in_turn([[BACPACK, "--help"], [sys.executable, "-c", "pass"]], ROUNDS)
    rows = [
        ["`bacpack --help`", f"{median([run.wall for run in own]) * 1000:.0f}"],
        ["`python -c pass`", f"{median([run.wall for run in bare]) * 1000:.0f}"],
    ]
    return "## Start\n\n" + table(["", "milliseconds (median)"], rows)


if __name__ == "__main__":
    print(report())
