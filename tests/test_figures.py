"""Figures in README, guides and concepts are those of the benchmarks' tables; what guides print is followed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from bacpack.split.input.refusals import MOST_CODE_BYTES
from commands import command

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    *(REPOSITORY / "docs" / "guides").glob("*.md"),
    *(REPOSITORY / "docs" / "concepts").glob("c*.md"),
    REPOSITORY / "examples" / "rust" / "README.md",
]
WEBASSEMBLY = REPOSITORY / "docs" / "reference" / "webassembly.md"
#: A size in the units of what is measured, or a share; limits are in KiB and MiB.
FIGURE = re.compile(r"\d[\d.,]* (?:[kKMG]B|%)(?!\w)|\d[\d.,]* times its")


def table(name: str, row: str, column: str) -> str:
    """A cell of a benchmark's table, by the beginning of its row and the head of its column."""
    columns: list[str] = []
    for line in (REPOSITORY / "docs" / "_benchmarks" / f"{name}.md").read_text().splitlines():
        cells = [cell.strip().replace("*", "") for cell in line.split("|")[1:-1]]
        if not cells:
            columns = []
        elif not columns:
            columns = cells
        elif cells[0].startswith(row.rstrip()) and column in columns:
            return cells[columns.index(column)]
    raise AssertionError(f"docs/_benchmarks/{name}.md has no `{row}`, `{column}`")


def number(name: str, row: str, column: str, part: int = 0) -> float:
    """A number in a cell."""
    return float(re.findall(r"\d[\d,]*\.?\d*", table(name, row, column))[part].replace(",", ""))


def megabytes(column: str) -> str:
    return f"{number('sizes', IMAGES, column) / 1000:.1f} MB"


MEDIAN = "milliseconds (median)"
IMAGES = "42 image programs"
RATIO = re.search(r"Median ratio over all: \*\*([\d.]+)\*\*", (REPOSITORY / "docs/_benchmarks/run_time.md").read_text())
assert RATIO


def new(row: str) -> float:
    """The share of new blocks in a release."""
    return number("publish", row, "new blocks") / number("publish", row, "release")


#: What pages say of figures, by page.
SAID = {
    "README.md": [
        f"| the blobs | {megabytes('blobs')} | yes | yes |",
        f"| **bacpack split** | **{megabytes('split')}** |",
        f"equal chunks stored once | {megabytes('chunks once')} |",
        f"each blob / all blobs in one stream | {megabytes('each blob')} / {megabytes('blobs as one')} |",
        f"on each file of the split | {megabytes('each split file')} |",
        f"adds {number('next_job', IMAGES, 'new / blob'):.1f} % of its size in the median over all 42",
        f"the release that is published again has {new('one program split again'):.1%} new".replace("%", " %"),
        f"Real work takes {float(RATIO[1]):.2f} times as long as in the blob, in the median",
        f"weighs {number('next_job', IMAGES, 'closure / blob')} times its blob in the median of the 42,"
        f" and {number('next_job', IMAGES, 'closure / blob', 2)} times at most",
        f"blobs with more than {MOST_CODE_BYTES // 1_000_000} MB of code",
    ],
    "publish.md": [
        f"benchmarks](../benchmarks.md) that is {new('one program split again'):.1%}. ".replace("%", " %")
        + "To split all anew makes new modules, which import each other by CID: then "
        + f"{new('all split again without'):.0%} of the release is new".replace("%", " %"),
    ],
    "catalog.md": [
        f"with a letter changed in one, {number('publish', 'one program split again', 'new blocks') / 1000:.0f} KB of "
        f"{number('publish', 'one program split again', 'release') / 1_000_000:.1f} MB",
        "some 25 KB",
        f"are found in {number('catalog', '1,000,000', MEDIAN):.0f} ms, "
        f"against {number('catalog', '1,000', MEDIAN):.0f} ms in one of a thousand",
    ],
}


def prose(page: Path) -> str:
    """A page without what is followed or shown as code, in one line."""
    return " ".join(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_figures_are_those_of_a_table(page: Path) -> None:
    text = prose(page)
    for sentence in SAID.get(page.name, []) if "rust" not in page.parts else []:
        assert sentence in text, f"{page.name} does not say what the table does: {sentence}"
        text = text.replace(sentence, "")
    assert FIGURE.findall(text) == [], "take these from a table, and name them in SAID"


def test_the_readme_shows_what_the_guide_does() -> None:
    """Its short session is that of Getting started."""
    guide = (REPOSITORY / "docs" / "guides" / "getting-started.md").read_text()
    shown = re.findall(r"^[a-z]+ +\d.* KB.*$|^\d+ modules, .*$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert len(shown) >= 7
    assert [line for line in shown if line not in guide] == []


#: Pairs of programs in the page of WebAssembly's features, by the beginning of their row.
PAIRS = {
    "Rust 1.96, `wasm32-unknown-unknown`": "rust",
    'the same, `lto = "fat"`, then `wasm-opt -Oz`': "rust/lto",
    "C, `zig cc` 0.17": "c",
    "C++, `zig c++` 0.17": "cpp",
    "AssemblyScript 0.28": "assemblyscript",
}


@pytest.mark.parametrize("row", PAIRS)
def test_sizes_of_toolchains_are_those_of_their_pairs(row: str, tmp_path: Path) -> None:
    blobs = (REPOSITORY / "tests" / "data" / "toolchains" / PAIRS[row]).glob("*.wasm")
    done = subprocess.run(command("split", *blobs, "-o", tmp_path / "out", "--json"), capture_output=True, check=True)
    totals = json.loads(done.stdout)["totals"]
    before, after = totals["blob_bytes"], totals["split_bytes"]
    assert said(row) == [
        f"{before / 1000:.0f} KB",
        f"{after / 1000:.0f} KB",
        f"{after / before:.0%}".replace("%", " %"),
    ]


def test_sizes_of_go_are_those_of_the_benchmark() -> None:
    columns = [table("sizes", "2 in Go", column) for column in ("blobs", "split")]
    share = f"{number('sizes', '2 in Go', 'share'):.0f} %"
    assert said("Go 1.26") == [*(f"{column.replace(',', '')} KB" for column in columns), share]


def test_no_other_toolchain_has_figures() -> None:
    """What nothing here measures is not told."""
    rows = [line.split("|") for line in WEBASSEMBLY.read_text().splitlines() if line.startswith("| ")]
    told = [cells[1].strip() for cells in rows if len(cells) == 7 and FIGURE.search(cells[3])]
    assert all(name.startswith((*PAIRS, "Go 1.26")) for name in told), told


def said(row: str) -> list[str]:
    """The figures in a row of a toolchain."""
    [line] = [line for line in WEBASSEMBLY.read_text().splitlines() if line.startswith(f"| {row}")]
    return [cell.strip() for cell in line.split("|")[3:6]]
