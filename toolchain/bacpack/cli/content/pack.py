"""`bacpack pack`: pack files or a folder into a CAR file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bacpack.cli.options.values import OutputPath
from bacpack.cli.terminal.output import Output, common_options
from bacpack.errors import InputError
from bacpack.text import human_bytes

EPILOG = """\b
Examples:
  bacpack pack out -o release.car
  bacpack pack app.wasm lib.wasm -o release.car

\b
A folder that `bacpack split` wrote is checked against its manifest and packed as that names it.
Other folders are packed as they are, less hidden files; files go into a folder by their names,
with the modules that they import by CID, from the folder `modules` beside them or from the store.

\b
Exit status:
  0  done
  1  a file is not what the manifest says, or a module is missing
  2  wrong usage or input, or the file cannot be written
"""


@click.command(epilog=EPILOG)
@click.argument("paths", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "car", metavar="FILE.car", required=True, type=OutputPath(), help="Where to write the CAR file.",
)  # fmt: skip
@common_options
def command(output: Output, *, paths: tuple[Path, ...], car: str) -> None:
    """Pack files or a folder into a CAR file.

    The root of the file is a UnixFS directory, the same that `bacpack publish` gives.
    """
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder
    from bacpack.publish.release.release import plan_release
    from bacpack.publish.targets import car_path, write_car
    from bacpack.text import count_of

    target = car_path(car)
    refuse_output_inside(paths, target)
    with output.progress("hashing") as show:
        release = plan_release(paths, BlockStore(data_folder()), show.add)
    note_left_out(output, release.left_out)
    blocks = len(release.sizes)
    with output.progress(f"writing {target}", sum(release.sizes.values())) as show:
        size = write_car(release, target, lambda count, _size: show(f"{count} of {blocks} blocks"))
    output.result(
        {"root": str(release.root), "car": str(target), "blocks": blocks, "bytes": size},
        f"{release.root}  {count_of(blocks, 'block')}, {human_bytes(size)} in {target}",
    )


def refuse_output_inside(paths: tuple[Path, ...], car: Path) -> None:
    """Raise `InputError` if the CAR file would be written among what is packed, and so be in it the next time."""
    # realpath takes a loop of links as it is, where Path.resolve raises.
    target = Path(os.path.realpath(car))
    for path in paths:
        if path.is_dir() and target.is_relative_to(os.path.realpath(path)):
            raise InputError(
                "output-inside-input",
                f"`{car}` is inside `{path}`, which is packed",
                hint="write the CAR file somewhere else",
                details={"car": str(car), "input": str(path)},
            )


def note_left_out(output: Output, left_out: tuple[str, ...]) -> None:
    """Tell the person which files are not part of the release."""
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        output.note(f"left out, hidden or not in the manifest: {', '.join(left_out[:3])}{more}")
