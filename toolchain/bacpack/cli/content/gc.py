"""`bacpack gc`: free what nothing pins."""

from __future__ import annotations

import click

from bacpack.cli.terminal.output import Output, common_options
from bacpack.text import human_bytes

EPILOG = """\b
Example:
  bacpack gc

\b
Exit status:
  0  done, also if pinned content is incomplete: the missing blocks are named
  2  the store cannot be used
"""


@click.command(epilog=EPILOG)
@common_options
def command(output: Output) -> None:
    """Free what nothing pins.

    Waits for a publish or fetch that is under way.
    """
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.collection import collect_garbage
    from bacpack.content.store.origins import Provenance
    from bacpack.content.store.pins import Pins
    from bacpack.folders import data_folder
    from bacpack.text import count_of

    folder = data_folder()
    with output.progress("collecting garbage") as show:

        def on_wait() -> None:
            output.note("waiting for a publish or fetch to end")
            show.waiting("the end of a publish or fetch", "another bacpack")

        done = collect_garbage(BlockStore(folder), Pins(folder), Provenance(folder), on_wait, show)
    if done.missing:
        output.note(f"pinned content lacks {count_of(len(done.missing), 'block')}, missing or damaged:")
        for cid in done.missing:
            output.note(f"  {cid}")
    output.result(
        {
            "deleted_blocks": done.deleted_blocks,
            "deleted_bytes": done.deleted_bytes,
            "kept_blocks": done.kept_blocks,
            "kept_bytes": done.kept_bytes,
            "missing": [str(cid) for cid in done.missing],
        },
        f"freed {human_bytes(done.deleted_bytes)} in {count_of(done.deleted_blocks, 'block')}; "
        f"kept {human_bytes(done.kept_bytes)} in {done.kept_blocks}",
    )
