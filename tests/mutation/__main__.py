"""Run by hand: `python -m mutation --help`, in the folder `tests`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mutation.attacks import ATTACKS
from mutation.campaign import Campaign, Changed, forget
from mutation.places import CHANGES, manifest
from mutation.subjects import GROUPS


def main() -> int:
    """Try changes, print the score, and return 1 when one is not explained."""
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000, help="how many changes to try")
    parser.add_argument("--number", type=int, help="try this change alone, and say all about it")
    parser.add_argument("--group", action="append", choices=[*GROUPS], help="only programs of this group")
    parser.add_argument("--change", choices=[*CHANGES, *ATTACKS, *manifest.CHANGES], help="only this kind of change")
    parser.add_argument(
        "--write", type=Path, metavar="DIR", help="with --number: write blob, remainder and modules here"
    )
    given = parser.parse_args()
    campaign = Campaign(given.seed, given.group or [*GROUPS], given.change)
    if given.number is not None:
        changed = campaign.change(given.number)
        print(changed or "nothing was found to change")
        if changed and given.write:
            _write(changed, given.write)
    numbers = range(given.count) if given.number is None else [given.number]
    score = campaign.run(numbers, lambda line: print(line, file=sys.stderr))
    forget()
    print(score)
    for finding in score.findings:
        print(f"\n{finding}")
    return 1 if score.findings else 0


def _write(changed: Changed, folder: Path) -> None:
    (folder / "modules").mkdir(parents=True, exist_ok=True)
    (folder / "blob.wasm").write_bytes(changed.release.blob)
    (folder / "remainder.wasm").write_bytes(changed.release.remainder)
    for name, data in changed.release.modules.items():
        (folder / "modules" / f"{name.replace('/', '_')}.wasm").write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
