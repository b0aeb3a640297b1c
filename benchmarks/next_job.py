"""What is new when one more program comes: each is split with the catalog of a split of all the others.

Run `python benchmarks/next_job.py [--every 6]`: with all programs it takes some minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import plots
from bacpack.split.catalog.catalog import Catalog, catalog_files
from bacpack.split.input.blob import Input
from bacpack.split.model.records import Split
from bacpack.split.pipeline.proof import prove_split
from bacpack.split.pipeline.release_folder import MODULES_FOLDER
from bacpack.split.pipeline.steps import split
from compress import chunks, zstd_each
from corpora import Corpus, images, rust_examples, split_of
from measure import Busy, LeftOutError, median, processors, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Next:
    """One program that came after all others of its set. Sizes in bytes."""

    name: str
    blob: int
    #: Its remainder, and the modules that are not in the catalog.
    remainder: int
    new_modules: int
    #: The remainder with all modules it needs.
    closure: int
    #: The same when all are split together, which is what who has nothing yet must fetch.
    alone: int
    #: Bytes in chunks that no other program has.
    new_chunks: int
    #: By `zstd -19`: the blob, and what is new.
    zstd_blob: int
    zstd_new: int

    @property
    def new(self) -> int:
        return self.remainder + self.new_modules

    @property
    def share(self) -> float:
        return self.new / self.blob


def measure(corpus: Corpus, every: int = 1, *, prove: bool = True) -> list[Next]:
    """Split each of a set, or each so-manieth, after the others; `prove` has it proved equal to its blob."""
    together = {app["blob"]: app["closure_bytes"] for app in split_of(corpus).report["apps"]}
    inputs = [Input(path.name.removesuffix(".wasm"), path.read_bytes(), str(path)) for path in corpus.paths]
    every_chunk = [set(chunks(entry.data)) for entry in inputs]
    chosen = range(0, len(inputs), every)
    one = partial(_next_of, inputs, every_chunk, together, prove=prove)
    with ProcessPoolExecutor(processors()) as pool:
        futures = {position: pool.submit(one, position) for position in chosen}
        for done, _ in enumerate(as_completed(futures.values()), 1):
            print(f"  {done} of {len(chosen)} split after the others", file=sys.stderr)
        return [futures[position].result() for position in chosen]


def _next_of(
    inputs: Sequence[Input],
    every_chunk: Sequence[set[str]],
    together: dict[str, int],
    position: int,
    *,
    prove: bool,
) -> Next:
    entry = inputs[position]
    others = [other for other in inputs if other is not entry]
    known = split(others)
    after = split([entry], catalogs=[_catalog(known)])
    if prove:
        prove_split(after, lambda _state: None, ["the others"])
    (app,) = after.apps
    modules = [module.data for cid, module in after.modules.items() if cid not in known.modules]
    chunked = chunks(entry.data)
    elsewhere = set[str]().union(
        *(found for other, found in zip(inputs, every_chunk, strict=True) if other is not entry)
    )
    return Next(
        name=entry.name,
        blob=app.blob_bytes,
        remainder=len(app.data),
        new_modules=sum(map(len, modules)),
        closure=len(app.data) + sum(len(after.modules[cid].data) for cid in after.closure(app)),
        alone=together[entry.path],
        new_chunks=sum(size for digest, size in chunked.items() if digest not in elsewhere),
        zstd_blob=zstd_each([entry.data]),
        zstd_new=zstd_each([app.data, *modules]),
    )


def _catalog(known: Split) -> Catalog:
    """The catalog of a split, as if it had been written to a folder."""
    modules = {f"{MODULES_FOLDER}/{cid}.wasm": module.data for cid, module in known.modules.items()}
    files = catalog_files(known) | modules
    return Catalog.open("the others", files.get)


def draw(results: Sequence[Next]) -> Figure:
    """A row for each format: what is new of its reader and writer, and what each needs when nothing is there yet."""
    rows: dict[str, dict[str, Next]] = {}
    for found in results:
        format, _, verb = found.name.removesuffix("-image.wasi").rpartition("-")
        rows.setdefault(format, {})[verb] = found
    ordered = sorted(rows, key=lambda format: min(found.share for found in rows[format].values()))
    figure, (new, whole) = plots.figure_with(1, 2, 0.25 * len(rows) + 1.5, sharey=True, width_ratios=(2.2, 1))
    marks = {"read": ("o", plots.BLUE), "write": ("D", plots.YELLOW)}
    for row, format in enumerate(ordered):
        for verb, found in rows[format].items():
            mark, colour = marks[verb]
            style = {"color": colour, "markersize": 5.5, "markeredgecolor": plots.CARD, "markeredgewidth": 0.6}
            new.plot(found.new_chunks / found.blob, row, mark, **style | {"color": plots.GREY})
            new.plot(found.share, row, mark, **style)
            whole.plot(found.alone / found.blob, row, mark, **style)
    middle = median([found.share for found in results])
    new.axvline(middle, color=plots.RED, linewidth=1.2)
    new.text(middle + 0.012, -0.85, f"median {middle:.1%}", color=plots.RED, va="center")
    new.set_yticks(range(len(ordered)), ordered)
    new.set_ylim(len(ordered) - 0.4, -1.3)
    new.set_xlim(0, 1.02)
    new.xaxis.set_major_formatter("{x:.0%}")
    new.set_xlabel("new bytes / blob")
    new.set_title("For a node that holds all others")
    for verb, (mark, colour) in marks.items():
        new.plot([], [], mark, color=colour, label=f"new of the program that {verb}s")
    new.plot([], [], "o", color=plots.GREY, label="new in chunks of 4 KiB")
    new.legend(loc="center", bbox_to_anchor=(0.62, 0.5))
    whole.set_xlabel("remainder and modules / blob")
    whole.set_title("For one that holds none")
    whole.axvline(1, color=plots.FAINT, linewidth=1)
    plots.bare(new)
    plots.bare(whole)
    return figure


def report(
    picture: plots.Picture = plots.no_picture,
    results: dict[str, list[Next]] | None = None,
    every: int = 1,
) -> str:
    """Measure and describe the result in Markdown."""
    busy = Busy()
    left_out = ""
    if results is None:
        rust = rust_examples()
        results = {rust.title: measure(rust, prove=False)}
        try:
            corpus = images()
        except LeftOutError as error:
            left_out = f"\nLeft out: {error}.\n"
        else:
            results = {corpus.title: measure(corpus, every), **results}
    first = next(iter(results.values()))
    image = picture(
        "bench-next-job",
        "For each image format, what is new of its reader and writer after all others, as share of the blob",
        lambda: draw(first),
    )
    rows = [_row(title, found) for title, found in results.items()]
    heading = ["median, least and most of", "new / blob", "new, remainder only", "new chunks / blob", "closure / blob"]
    zstd = [[title, *_zstd(found)] for title, found in results.items()]
    return f"""## The next job

Each program is split with the catalog of a split of all others of its set. New are its remainder and the modules that
the catalog lacks: what a node that holds the others still has to fetch. The closure is a program's remainder with all
modules, split together with the others: what a node that holds nothing has to fetch. Those of the images are proved
equal to their blobs. {busy}
{image}
{table(heading, rows)}

By `zstd -19`, as share of the blob (medians):

{table(["", "the blob", "what is new"], zstd)}
{left_out}"""


def _row(title: str, found: Sequence[Next]) -> list[str]:
    def cell(values: list[float]) -> str:
        return f"**{median(values):.1%}** ({min(values):.1%} to {max(values):.1%})"

    alone = [entry.alone / entry.blob for entry in found]
    return [
        title,
        cell([entry.share for entry in found]),
        cell([entry.remainder / entry.blob for entry in found]),
        cell([entry.new_chunks / entry.blob for entry in found]),
        f"**{median(alone):.2f}** ({min(alone):.2f} to {max(alone):.2f})",
    ]


def _zstd(found: Sequence[Next]) -> list[str]:
    shares = [[entry.zstd_blob / entry.blob, entry.zstd_new / entry.blob] for entry in found]
    return [f"{median(column):.1%}" for column in map(list, zip(*shares, strict=True))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth of the 42 only")
    print(report(every=parser.parse_args().every))
