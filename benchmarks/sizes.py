"""What programs weigh before and after, beside content-defined chunking and zstd.

Run `python benchmarks/sizes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import plots
from compress import chunked, zstd_each, zstd_solid
from corpora import Corpus, corpora, split_of
from measure import Busy, LeftOutError, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
#: What a split consists of, in the order drawn, and how it is called.
KINDS = {"remainder": "remainders", "shared": "shared code", "data": "shared data", "environment": "environment"}


@dataclass
class Sizes:
    """Bytes of one set of programs; None for what could not be measured here."""

    title: str
    blobs: int
    #: By kind, each file once.
    split: dict[str, int]
    modules: int
    chunked_blobs: int | None
    chunked_split: int | None
    each_blob: int | None
    #: By kind, each file compressed by itself.
    each_split: dict[str, int] | None
    solid_blobs: int | None
    solid_split: int | None

    @property
    def all_split(self) -> int:
        return sum(self.split.values())


def measure(sets: Sequence[Corpus]) -> list[Sizes]:
    """Split each set, and compress it."""
    return [_sizes(corpus) for corpus in sets]


def _sizes(corpus: Corpus) -> Sizes:
    split = split_of(corpus)
    kinds = split.files()
    blobs = [path.read_bytes() for path in corpus.paths]
    files = [data for contents in kinds.values() for data in contents]
    each = _if_there(lambda: {kind: zstd_each(contents) for kind, contents in kinds.items()})
    return Sizes(
        title=corpus.title,
        blobs=split.report["totals"]["blob_bytes"],
        split={kind: sum(map(len, contents)) for kind, contents in kinds.items()},
        modules=len(split.report["modules"]),
        chunked_blobs=_if_there(lambda: chunked(blobs)),
        chunked_split=_if_there(lambda: chunked(files)),
        each_blob=_if_there(lambda: zstd_each(blobs)),
        each_split=each,
        solid_blobs=_if_there(lambda: zstd_solid(blobs)),
        solid_split=_if_there(lambda: zstd_solid(files)),
    )


def _if_there(get: Callable[[], T]) -> T | None:
    try:
        return get()
    except LeftOutError:
        return None


def draw(sizes: Sizes) -> Figure:
    """A bar for each way to store the set; those of the split stacked by kind."""
    colours = dict(zip(KINDS, (plots.RED, plots.BLUE, plots.YELLOW, plots.GREY), strict=True))
    bars: list[tuple[str, dict[str, int] | int | None]] = [
        ("blobs", sizes.blobs),
        ("blobs, 4 KiB chunks stored once", sizes.chunked_blobs),
        ("split, files stored once", sizes.split),
        ("blobs, each by zstd -19", sizes.each_blob),
        ("split, each file by zstd -19", sizes.each_split),
        ("blobs, all as one by zstd -19 --long", sizes.solid_blobs),
        ("split, all as one by zstd -19 --long", sizes.solid_split),
    ]
    bars = [(name, size) for name, size in bars if size is not None]
    figure, axes = plots.figure_with(1, 1, 0.36 * len(bars) + 1.0)
    for row, (_, size) in enumerate(bars):
        parts = size if isinstance(size, dict) else {"": size or 0}
        left = 0.0
        for kind, count in parts.items():
            axes.barh(row, count / 1e6, left=left, height=0.68, color=colours.get(kind, plots.GREY))
            left += count / 1e6
        axes.text(left + sizes.blobs * 0.006e-6, row, f"{left:.2f} MB", va="center", color=plots.INK)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("MB")
    axes.set_xlim(0, sizes.blobs * 1.12e-6)
    plots.bare(axes)
    shown = [kind for kind in KINDS if kind != "environment"]
    handles = [axes.barh([0], [0], color=colours[kind], label=KINDS[kind]) for kind in shown]
    axes.legend(handles=handles, loc="lower right", title="of the split")
    return figure


def report(picture: plots.Picture = plots.no_picture, results: list[Sizes] | None = None) -> str:
    """Measure all sets and describe the result in Markdown."""
    busy = Busy()
    sets, left_out = corpora() if results is None else ([], [])
    results = measure(sets) if results is None else results
    heading = [
        "programs",
        "blobs",
        "chunks once",
        "**split**",
        "share",
        "split, chunks once",
        "remainders",
        "code",
        "data",
        "modules",
    ]
    raw = table(heading, [_raw_row(sizes) for sizes in results])
    heading = ["programs", "each blob", "each split file", "blobs as one", "split as one"]
    zstd = table(heading, [_zstd_row(sizes) for sizes in results])
    image = picture(
        "bench-sizes",
        f"{results[0].title}: bytes of the blobs, in chunks, split, and compressed by zstd",
        lambda: draw(results[0]),
    )
    missing = "".join(f"\nLeft out: {reason}.\n" for reason in left_out)
    return f"""## Sizes

Programs that are split together, each file stored once. *Chunks* are content-defined, 4 KiB on average (FastCDC), each
stored once. {busy}
{image}
Sizes in kB. The share is that of the split in the blobs.

{raw}

The same by `zstd -19`, each file by itself, and all as one by `--long`, which can neither be added to nor run:

{zstd}
{missing}"""


def _kb(size: int | None) -> str:
    return "" if size is None else f"{size / 1000:,.0f}"


def _raw_row(sizes: Sizes) -> list[str]:
    remainder, code, data, environment = (sizes.split[kind] for kind in KINDS)
    share = f"**{sizes.all_split / sizes.blobs:.1%}**"
    columns = [
        _kb(sizes.blobs),
        _kb(sizes.chunked_blobs),
        f"**{_kb(sizes.all_split)}**",
        share,
        _kb(sizes.chunked_split),
    ]
    return [sizes.title, *columns, _kb(remainder), _kb(code + environment), _kb(data), str(sizes.modules)]


def _zstd_row(sizes: Sizes) -> list[str]:
    each = None if sizes.each_split is None else sum(sizes.each_split.values())
    return [sizes.title, _kb(sizes.each_blob), _kb(each), _kb(sizes.solid_blobs), _kb(sizes.solid_split)]


if __name__ == "__main__":
    print(report())
