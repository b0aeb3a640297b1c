"""How long it takes to find the modules of one program in catalogs of a thousand to a million features.

Each catalog is that of five small Rust programs, and made-up modules beside theirs.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bacpack.content.cid.cid import Cid
from bacpack.split.catalog.catalog import Catalog, candidates, index
from bacpack.split.catalog.release_files import folder_reader
from bacpack.split.data.image import image
from bacpack.split.input.blob import Input
from bacpack.split.model.records import Split
from bacpack.split.pipeline.steps import split
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Module
from corpora import rust_programs
from measure import median, table

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = 9
#: How many features a made-up module has: as many functions as a large library.
FEATURES_PER_MODULE = 500
SOUGHT = "jsonfmt"


@dataclass
class Counted:
    """Reads a folder, and notes what was read."""

    folder: Path
    read: dict[str, int] = field(default_factory=dict)

    def __call__(self, path: str) -> bytes | None:
        data = folder_reader(self.folder)(path)
        if data is not None:
            self.read[path] = len(data)
        return data


def write_catalog(folder: Path, known: Split, size: int) -> dict[str, int]:
    """Write a catalog of so many features; return the size of each of its shards."""
    features = {cid: found for cid, found in known.features.items() if cid in known.modules}
    left = size - sum(map(len, features.values()))
    while left > 0:
        count = min(left, FEATURES_PER_MODULE)
        features[str(Cid.of_raw(os.urandom(8)))] = [os.urandom(8) for _ in range(count)]
        left -= count
    files = index(features)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for cid, module in known.modules.items():
        (folder / "modules").mkdir(exist_ok=True)
        (folder / "modules" / f"{cid}.wasm").write_bytes(module.data)
    return {path: len(data) for path, data in files.items() if path not in ("catalog/catalog.json", "catalog/modules")}


def report() -> str:
    """Measure all sizes and describe the result in Markdown."""
    programs = rust_programs()
    sought = programs.pop(SOUGHT).read_bytes()
    known = split([Input(name, path.read_bytes(), name) for name, path in programs.items()])
    blob = fingerprint(Module.parse(sought))
    memory = image(blob)
    rows = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            shards = write_catalog(Path(name), known, size)
            seconds, found = [], []
            for _ in range(ROUNDS):
                reader = Counted(Path(name))
                started = time.perf_counter()
                found.append(candidates([Catalog.open("catalog", reader)], blob, memory))
                seconds.append(time.perf_counter() - started)
        read = {path: count for path, count in reader.read.items() if path.startswith("catalog/")}
        assert found[0] and found.count(found[0]) == ROUNDS
        rows.append(
            [
                f"{size:,}",
                f"{sum(shards.values()) / 1e6:.2f} MB in {len(shards)}",
                f"{max(shards.values()) / 1e3:.1f} KB",
                f"{len(read.keys() & shards.keys())}",
                f"{sum(read.values()) / 1e6:.2f} MB",
                f"{median(seconds) * 1000:.0f}",
            ]
        )
    heading = ["features", "shards", "largest shard", "shards read", "bytes read", "milliseconds (median)"]
    title = f"## Finding modules in a catalog\n\nThose of `{SOUGHT}`, {len(blob.functions)} functions."
    return title + "\n\n" + table(heading, rows)


if __name__ == "__main__":
    print(report())
