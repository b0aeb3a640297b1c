"""Whether a split program is as quick as its blob: images of 25 megapixels written and read in six formats.

The programs are called as the package's own Python code calls them: the image is in their memory, the file in a folder.
What is timed is the call that does the work. Beside it: the time to instantiate a program and to compile its modules.

Run `python benchmarks/run_time.py [--rounds 7]`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import wasmtime

import plots
from corpora import image_blobs, images, split_of
from differential.pictures import Picture
from measure import Busy, median, table, timed_in_turn
from programs import Instance, compile_all, instantiate, modules_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDS = 7
COMPILE_ROUNDS = 3
#: What takes less than this is done so many times as often: a moment of the machine weighs more on it.
SHORT_SECONDS, MORE_ROUNDS = 1.0, 3
#: What we ask for: of the median over all, and of a job whose modules are compiled.
MOST_RATIO, MOST_MILLISECONDS = 1.03, 5.0

PHOTO = Picture((5000, 5000), "uint8", "B", channels=3)
VOLUME = Picture((400, 250, 250), "int16", "h")
#: By the name of the format: the image, the file, what the program is told besides.
FORMATS: dict[str, tuple[Picture, str, list[str]]] = {
    "png": (PHOTO, "photo.png", []),
    "jpeg": (PHOTO, "photo.jpg", []),
    "tiff": (PHOTO, "photo.tif", ["--use-compression"]),
    "bmp": (PHOTO, "photo.bmp", []),
    "nrrd": (VOLUME, "volume.nrrd", ["--use-compression"]),
    "nifti": (VOLUME, "volume.nii.gz", []),
}


@dataclass
class Work:
    """One program doing its work: seconds of each round, as a blob and split."""

    format: str
    verb: str
    blob: list[float] = field(default_factory=list)
    split: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [split / blob for blob, split in zip(self.blob, self.split, strict=True)]


@dataclass
class Start:
    """Milliseconds of each round until a program can be called."""

    instantiate_blob: list[float]
    instantiate_split: list[float]
    compile_blob: list[float]
    compile_split: list[float]
    compile_remainder: list[float]


@dataclass
class Result:
    work: list[Work]
    starts: dict[str, Start]
    busy: str


def pixels(picture: Picture) -> bytes:
    """Something like a picture: it is smooth, with edges and a little noise."""
    axes = np.ogrid[tuple(slice(0, length) for length in reversed(picture.size))]
    smooth, edges = np.zeros((1,) * len(axes)), np.zeros((1,) * len(axes))
    for place, axis in enumerate(axes):
        smooth = smooth + np.sin(7 * axis / axis.size + place) / len(axes)
        edges = (edges + axis // 37) % 5
    noise = np.random.default_rng(1).integers(0, 3, smooth.shape)
    levels = 90 * smooth + 6 * edges + noise + 110
    components = np.repeat(levels[..., None], picture.channels, axis=-1) + np.arange(picture.channels)
    return components.astype(picture.component).tobytes()


class Caller:
    """Writes and reads one format by programs of which the modules are compiled; checks what comes out."""

    def __init__(self, engine: wasmtime.Engine, folder: Path, format: str, image: bytes) -> None:
        self._engine, self._folder, self._image = engine, folder, image
        self._picture, self._file, self._options = FORMATS[format]
        self._written: bytes | None = None
        self._read: bytes | None = None

    def write(self, modules: dict[str, wasmtime.Module]) -> float:
        """Return the seconds it took."""
        arguments = ["--memory-io", "0", "0", self._file, *self._options]
        program = instantiate(self._engine, modules, arguments, self._folder)
        program.call("_initialize")
        dimension = len(self._picture.size)
        direction = np.identity(dimension).tobytes()
        parts = [_give(program, part, data) for part, data in enumerate((self._image, direction))]
        index = json.dumps(self._picture.index(*parts)).encode()
        program.memory.write(program.store, index, program.call("itk_wasm_input_json_alloc", 0, 0, len(index)))
        seconds = _work(program)
        self._written = _same(self._written, (self._folder / self._file).read_bytes())
        return seconds

    def read(self, modules: dict[str, wasmtime.Module]) -> float:
        """Return the seconds it took to read what was written."""
        program = instantiate(self._engine, modules, ["--memory-io", self._file, "0", "1"], self._folder)
        program.call("_initialize")
        seconds = _work(program)
        address = program.call("itk_wasm_output_array_address", 0, 1, 0)
        size = program.call("itk_wasm_output_array_size", 0, 1, 0)
        assert size == len(self._image)
        self._read = _same(self._read, bytes(program.memory.read(program.store, address, address + size)))
        return seconds


def _give(program: Instance, part: int, data: bytes) -> str:
    address = program.call("itk_wasm_input_array_alloc", 0, 0, part, len(data))
    program.memory.write(program.store, data, address)
    return f"data:application/vnd.itk.address,0:{address}"


def _work(program: Instance) -> float:
    started = time.perf_counter()
    assert program.call("itk_wasm_delayed_start") == 0
    return time.perf_counter() - started


def _same(before: bytes | None, now: bytes) -> bytes:
    assert before is None or before == now, "a split program does something else than its blob"
    return now


def measure(rounds: int = ROUNDS, formats: Sequence[str] = tuple(FORMATS)) -> Result:
    """Let blob and split take turns."""
    busy = Busy()
    blobs, split = image_blobs(), split_of(images())
    engine = wasmtime.Engine()
    made = {id(picture): pixels(picture) for picture in (PHOTO, VOLUME)}
    work, starts = [], {}
    for format in formats:
        with tempfile.TemporaryDirectory() as folder:
            caller = Caller(engine, Path(folder), format, made[id(FORMATS[format][0])])
            for verb, do in (("write", caller.write), ("read", caller.read)):
                name = f"{format}-{verb}-image.wasi"
                whole, parts = modules_of(blobs[name]), modules_of(split.folder / f"{name}.wasm")
                starts[name] = _start(engine, whole, parts)
                work.append(
                    _compare(Work(format, verb), do, compile_all(engine, whole), compile_all(engine, parts), rounds)
                )
    return Result(work, starts, str(busy))


def _compare(
    work: Work,
    do: Callable[[dict[str, wasmtime.Module]], float],
    whole: dict[str, wasmtime.Module],
    parts: dict[str, wasmtime.Module],
    rounds: int,
) -> Work:
    expected = do(whole)  # a round that does not count
    for number in range(rounds * (MORE_ROUNDS if expected < SHORT_SECONDS else 1)):
        turns = [(whole, work.blob), (parts, work.split)]
        for modules, seconds in turns if number % 2 else reversed(turns):
            seconds.append(do(modules))
    return work


def _start(engine: wasmtime.Engine, whole: dict[str, bytes], parts: dict[str, bytes]) -> Start:
    compiling = timed_in_turn(
        [
            lambda: compile_all(engine, whole),
            lambda: compile_all(engine, parts),
            lambda: compile_all(engine, {"": parts[""]}),
        ],
        COMPILE_ROUNDS,
    )
    compiled_whole, compiled_parts = compile_all(engine, whole), compile_all(engine, parts)
    ready = timed_in_turn(
        [lambda: instantiate(engine, compiled_whole, []), lambda: instantiate(engine, compiled_parts, [])], 21
    )
    return Start(*([1000 * value for value in seconds] for seconds in (*ready, *compiling)))


def draw(result: Result) -> Figure:
    """For each program a dot for each round, and their median."""
    figure, axes = plots.figure_with(1, 1, 0.26 * len(result.work) + 1.1)
    axes.axvline(1, color=plots.FAINT, linewidth=1)
    for row, work in enumerate(result.work):
        colour = plots.BLUE if work.verb == "write" else plots.YELLOW
        axes.plot(work.ratios, [row] * len(work.ratios), "o", color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
        axes.plot([median(work.ratios)] * 2, [row - 0.33, row + 0.33], color=plots.INK, linewidth=2)
    axes.set_yticks(range(len(result.work)), [f"{work.format}, {work.verb}" for work in result.work])
    axes.invert_yaxis()
    axes.set_xlabel("run time of the split program / run time of its blob   (dots: rounds, bars: their medians)")
    plots.bare(axes)
    return figure


def report(picture: plots.Picture = plots.no_picture, result: Result | None = None) -> str:
    """Measure and describe the result in Markdown."""
    result = result or measure()
    medians = [median(work.ratios) for work in result.work]
    rows = [
        [
            f"{work.format}, {work.verb}",
            f"{median(work.blob):.2f}",
            f"{median(work.split):.2f}",
            f"{median(work.ratios):.3f}",
            f"{min(work.ratios):.2f} to {max(work.ratios):.2f}",
        ]
        for work in result.work
    ]
    heading = ["25 megapixels", "blob, s", "split, s", "ratio (median)", "rounds"]
    image = picture(
        "bench-run-time",
        "For each format, written and read, the ratio of the run time of the split program to that of its blob: near 1",
        lambda: draw(result),
    )
    return f"""## Run time

An image of 25 megapixels is written and read in six formats, by blobs and by what they were split to, in turn; both
leave the same bytes. Median ratio over all: **{median(medians):.3f}** (wanted: at most {MOST_RATIO}). {result.busy}
{image}
{table(heading, rows)}

## Start of a job

{_starts(result)}"""


def _starts(result: Result) -> str:
    starts = list(result.starts.values())

    def row(title: str, get: Callable[[Start], list[float]]) -> list[str]:
        values = [median(get(start)) for start in starts]
        return [title, f"{median(values):.1f}", f"{min(values):.1f}", f"{max(values):.1f}"]

    rows = [
        row("compile the blob", lambda start: start.compile_blob),
        row("compile remainder and modules", lambda start: start.compile_split),
        row("compile the remainder, the modules being compiled", lambda start: start.compile_remainder),
        row("instantiate the blob", lambda start: start.instantiate_blob),
        row("instantiate the split program", lambda start: start.instantiate_split),
    ]
    return (
        f"The same {len(starts)} programs. Instantiation of compiled modules is wanted to take at most "
        f"{MOST_MILLISECONDS:.0f} ms.\n\n" + table(["milliseconds", "median", "least", "most"], rows)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    chosen = parser.parse_args()
    print(report(result=measure(chosen.rounds, chosen.formats)))
