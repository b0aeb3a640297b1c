"""How fast CAR files are read and whole releases packed, verified and stored, against hashlib alone on the same bytes.

Run `python benchmarks/car.py`. What is compared takes turns in one run, so that what else the machine does weighs on
all alike; the best round of each counts.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

from bacpack.content.car import CarReader, car_chunks
from bacpack.content.cid.cid import Cid
from measure import BACPACK, Run, run, table

TOTAL_BYTES = 64 << 20
ROUNDS = 5
#: What the project asks for: 600 MiB/s where hashlib alone reaches 1,400.
REQUIRED_RATIO = 600 / 1400


def measure(block_bytes: int, total_bytes: int = TOTAL_BYTES, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return MiB/s of hashlib alone and of reading a CAR of raw blocks of this size."""
    blocks = [os.urandom(block_bytes) for _ in range(total_bytes // block_bytes)]
    mebibytes = total_bytes / 2**20
    hashing, reading = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blocks.car"
        named = [(Cid.of_raw(block), block) for block in blocks]
        path.write_bytes(b"".join(car_chunks([named[0][0]], named)))
        for _ in range(rounds):
            started = time.perf_counter()
            for block in blocks:
                hashlib.sha256(block).digest()
            hashing.append(time.perf_counter() - started)
            started = time.perf_counter()
            with path.open("rb") as file:
                count = sum(1 for _ in CarReader(file))
            reading.append(time.perf_counter() - started)
            assert count == len(blocks)
    return mebibytes / min(hashing), mebibytes / min(reading)


#: The releases: how many files, and how many bytes each has.
RELEASES = {"1 GiB in 32 files": (32, 32 << 20), "50,000 files of 2,000 bytes": (50_000, 2_000)}
RELEASE_ROUNDS = 3
#: Packing and verifying are to reach this part of hashlib's rate, in no more memory.
REQUIRED_RELEASE_RATIO, REQUIRED_MEGABYTES = 0.40, 100
#: What hashlib alone does to a folder, and the same with a copy written and forced to disk, as packing must.
_HASH = """
import hashlib, os, pathlib, sys
out = open(sys.argv[2], "wb", buffering=0) if len(sys.argv) > 2 else None
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.bin")):
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            hashlib.sha256(block).digest()
            if out:
                out.write(block)
if out:
    os.fsync(out.fileno())
"""


def measure_release(count: int, size: int, rounds: int = RELEASE_ROUNDS) -> list[list[str]]:
    """Rows for the commands that go over a release of so many random files: rates, ratio and peak memory."""
    total = count * size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            path = folder / "release" / f"{number % 100:02}" / f"{number:06}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))
        release, car = str(folder / "release"), str(folder / "release.car")
        run([BACPACK, "pack", release, "-o", car])
        fetch = f"rm -rf {folder}/home && BACPACK_HOME={folder}/home exec {BACPACK} fetch {car} -q"
        commands: dict[str, list[str]] = {
            "hashlib alone": [sys.executable, "-c", _HASH, release],
            "hashlib and a plain copy": [sys.executable, "-c", _HASH, release, str(folder / "copy")],
            "`pack`": [BACPACK, "pack", release, "-o", str(folder / "again.car"), "-q"],
            "`publish --to car:`": [BACPACK, "publish", release, "--to", f"car:{folder}/third.car", "-q"],
            "`verify FILE.car`": [BACPACK, "verify", car, "-q"],
            "`fetch FILE.car`, into an empty store": ["sh", "-c", fetch],
        }
        runs: dict[str, list[Run]] = {title: [] for title in commands}
        for _ in range(rounds):
            for title, command in commands.items():
                # What the system still writes for the one before is not the next one's time; and each writes to files
                # that are not there, for memory that was just freed is quicker to write to.
                for written in ("copy", "again.car", "third.car"):
                    (folder / written).unlink(missing_ok=True)
                os.sync()
                runs[title].append(run(command, memory=True))
    best = {title: min(entry.wall for entry in done) for title, done in runs.items()}
    rows = []
    for title, done in runs.items():
        peak = max(entry.peak_bytes for entry in done) / 1e6
        ratio = best["hashlib alone"] / best[title]
        rows.append([title, f"{total / 2**20 / best[title]:.0f}", f"{ratio:.2f}", f"{peak:.0f}"])
    return rows


def report() -> str:
    """Measure blocks of three sizes and two releases, and describe the result in Markdown."""
    rows = []
    for block_bytes in (256 << 10, 1 << 20, 16 << 10):
        hashing, reading = measure(block_bytes)
        rows.append([f"{block_bytes >> 10} KiB", f"{hashing:.0f}", f"{reading:.0f}", f"{reading / hashing:.2f}"])
    heading = ["blocks", "hashlib alone, MiB/s", "CAR read and verified, MiB/s", "ratio"]
    required = f"Required at 256 KiB: a ratio of {REQUIRED_RATIO:.2f}."
    parts = ["## Reading CAR files\n\n" + table(heading, rows) + "\n\n" + required, "## Packing and verifying releases"]
    heading = ["", "MiB/s", "of hashlib's rate", "peak memory, MB"]
    for title, (count, size) in RELEASES.items():
        parts.append(f"{title}:\n\n" + table(heading, measure_release(count, size)))
    parts.append(
        f"Required: a ratio of {REQUIRED_RELEASE_RATIO:.2f} for packing and verifying, in less than "
        f"{REQUIRED_MEGABYTES} MB. Packing reads and hashes everything twice, for a CAR file begins with its root, and "
        "writes it; the second row says what writing costs here. Storing forces each block to disk."
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(report())
