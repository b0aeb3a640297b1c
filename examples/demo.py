"""The main job of bacpack on real programs: split, publish, carry to another machine, run there by CID.

`make demo` runs this; so does `python examples/demo.py` where bacpack and its test programs are installed. The release
stays in `build/demo`, everything else is removed. It ends with 1 as soon as anything is not as it should be.
"""

# ruff: noqa: T201 - printing is what a demo is for

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RELEASE = REPOSITORY / "build" / "demo"
RUST = REPOSITORY / "examples" / "rust" / "prebuilt"
TEXT = b"One blob, two blobs: what one holds, the other may hold. Keep it once.\n"


class DemoError(Exception):
    """A step did not give what it should."""


def main() -> None:
    """Run every step, each announced by a line."""
    shutil.rmtree(RELEASE, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="bacpack-demo-") as scratch:
        here, there = Path(scratch, "here"), Path(scratch, "there")
        releases = {
            "images": ("42 C++ programs that read and write image formats", image_blobs()),
            "rust": ("six small Rust programs", sorted(set(RUST.glob("*.wasm")) - set(RUST.glob("*.named.wasm")))),
        }
        programs: dict[str, str] = {}
        for name, (what, blobs) in releases.items():
            say(f"split {what} into {RELEASE.relative_to(REPOSITORY) / name}")
            report = ask(here, "split", *blobs, "-o", RELEASE / name, "--json")
            print_sizes(report)
            say(f"publish them to a store, and to {name}.car")
            published = ask(here, "publish", RELEASE / name, "--car", RELEASE / f"{name}.car", "--json", "--quiet")
            print(f"  release {published['root']}: {published['blocks']} blocks, {size(published['bytes'])}")
            programs |= published["apps"]
        for name in releases:
            say(f"fetch {name}.car into an empty store: another machine")
            fetched = ask(there, "fetch", RELEASE / f"{name}.car", "--json")
            print(f"  {fetched['blocks']} blocks, {size(fetched['new_bytes'])} new, each checked against its CID")
        say(f"run wordcount there by its CID, offline: {programs['wordcount']}")
        run_text(there, programs["wordcount"])
        say(f"write a PNG there by its program's CID, and read it back: {programs['png-write-image.wasi']}")
        run_picture(there, programs, Path(scratch))
    print(f"\nAll as it should be. The release is in {RELEASE.relative_to(REPOSITORY)}.")


def say(step: str) -> None:
    """Announce a step."""
    print(f"\n== {step}", flush=True)


def image_blobs() -> list[Path]:
    """The programs of the public package `itkwasm-image-io-wasi`."""
    package = importlib.util.find_spec("itkwasm_image_io_wasi")
    if package is None or package.origin is None:
        raise DemoError("the demo's programs are missing: pip install itkwasm-image-io-wasi==1.6.1")
    return sorted(Path(package.origin).parent.glob("wasm_modules/*.wasm"))


def bacpack(home: Path, arguments: Sequence[str | Path], stdin: bytes = b"") -> bytes:
    """Run a command with its state in `home`, show what it says, and return what it prints."""
    command = [sys.executable, "-m", "bacpack.cli", *map(str, arguments)]
    environment = {**os.environ, "BACPACK_HOME": str(home)}
    done = subprocess.run(command, env=environment, input=stdin, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise DemoError(f"bacpack {arguments[0]} ended with {done.returncode}: {done.stdout.decode(errors='replace')}")
    return done.stdout


def ask(home: Path, *arguments: str | Path) -> dict[str, Any]:
    """Run a command that prints one JSON object."""
    answer: dict[str, Any] = json.loads(bacpack(home, arguments))
    return answer


def size(count: int) -> str:
    """`count` bytes in thousands, as the table shows them."""
    return f"{count / 1000:,.1f} KB"


def print_sizes(report: dict[str, Any]) -> None:
    """Print what each program weighed and weighs, and what all of them do."""
    row = "  {:<32}{:>14}{:>14}{:>20}".format
    print(row("program", "blob", "remainder", "with its modules"))
    for app in report["apps"]:
        print(row(app["name"], size(app["blob_bytes"]), size(app["bytes"]), size(app["closure_bytes"])))
    shared = sum(module["bytes"] for module in report["modules"])
    print(row(f"{len(report['modules'])} modules, kept once", "", size(shared), ""))
    before, after = report["totals"]["blob_bytes"], report["totals"]["split_bytes"]
    print(row("all", size(before), size(after), f"{after / before:.0%} of before"))
    print(f"  in {report['seconds']:.1f} s")
    if after >= before:
        raise DemoError("the split weighs no less than the blobs")


def run_text(home: Path, cid: str) -> None:
    """Count words by the CID of the program, and compare with what the blob counts."""
    counted = bacpack(home, ["run", "--offline", cid, "--", "--top", "3"], stdin=TEXT)
    print(counted.decode(), end="")
    same(counted, bacpack(home, ["run", RUST / "wordcount.wasm", "--", "--top", "3"], stdin=TEXT), "what is printed")


def run_picture(home: Path, programs: dict[str, str], scratch: Path) -> None:
    """Write a picture as PNG and read it back, by CID and by blob, and compare every file that is left."""
    blobs = {path.stem: str(path) for path in image_blobs()}
    pixels = draw(scratch / "picture.iwi")
    for folder, names in (("by-cid", programs), ("by-blob", blobs)):
        (scratch / folder).mkdir()
        shutil.copytree(scratch / "picture.iwi", scratch / folder / "picture.iwi")
        for program, arguments in (
            ("png-write-image.wasi", ["picture.iwi", "written.json", "picture.png"]),
            ("png-read-image.wasi", ["picture.png", "read.json", "back.iwi"]),
        ):
            share = f"{scratch / folder}::/"
            bacpack(home, ["run", "--offline", "--dir", share, names[program], "--", *arguments])
    by_cid, by_blob = (files(scratch / folder) for folder in ("by-cid", "by-blob"))
    same(by_cid, by_blob, "the files they leave")
    same(by_cid["back.iwi/data/data.raw"], pixels, "the pixels and the picture's own")
    print(f"  picture.png, {size(len(by_cid['picture.png']))}: the same file as the blob's, the same pixels read back")


def draw(folder: Path) -> bytes:
    """Make a small picture in the form that the programs take; returns its pixels."""
    width, height = 64, 48
    colours = ((x * 4, y * 5, (x ^ y) * 4) for y in range(height) for x in range(width))
    pixels = bytes(value for colour in colours for value in colour)
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "data.raw").write_bytes(pixels)
    (folder / "data" / "direction.raw").write_bytes(struct.pack("<4d", 1, 0, 0, 1))
    index = {
        "imageType": {"dimension": 2, "componentType": "uint8", "pixelType": "RGB", "components": 3},
        "name": "picture",
        "origin": [0, 0],
        "spacing": [1, 1],
        "direction": "data:application/vnd.itk.path,data/direction.raw",
        "size": [width, height],
        "metadata": [],
        "data": "data:application/vnd.itk.path,data/data.raw",
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return pixels


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file below `folder`, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(left: object, right: object, what: str) -> None:
    """Fail unless both are equal."""
    if left != right:
        raise DemoError(f"{what} differ")


if __name__ == "__main__":
    try:
        main()
    except (DemoError, OSError) as error:
        sys.exit(f"demo: {error}")
