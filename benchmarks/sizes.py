"""What programs weigh before and after: the 42 image readers and writers, and five small Rust programs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from corpus import image_blobs, rust_programs
from measure import BACPACK, run, table

#: The five programs of `examples/rust` that are compared; the sixth is the one split alone along its names.
RUST = ("checksum", "csvsum", "logsearch", "thumbnail", "wordcount")


def report() -> str:
    """Split both sets and describe the result in Markdown."""
    programs = rust_programs()
    sets = {
        "42 commands of `itkwasm-image-io-wasi` 1.6.1 (C++)": list(image_blobs().values()),
        "five std-only Rust programs": [programs[name] for name in RUST],
    }
    rows = [_row(title, blobs) for title, blobs in sets.items()]
    heading = ["programs", "blobs", "everything stored once", "share", "largest closure", "modules", "seconds"]
    return "## Sizes\n\n" + table(heading, rows)


def _row(title: str, blobs: Sequence[Path]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        done = run([BACPACK, "split", *map(str, blobs), "-o", folder, "--json", "--quiet"])
    split = json.loads(done.stdout)
    before, after = split["totals"]["blob_bytes"], split["totals"]["split_bytes"]
    closure = max(app["closure_bytes"] / app["blob_bytes"] for app in split["apps"])
    return [
        title,
        f"{before / 1e6:.2f} MB",
        f"{after / 1e6:.2f} MB",
        f"{after / before:.0%}",
        f"{closure:.2f} x blob",
        str(len(split["modules"])),
        f"{done.wall:.1f}",
    ]


if __name__ == "__main__":
    print(report())
