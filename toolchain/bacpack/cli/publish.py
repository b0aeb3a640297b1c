"""`bacpack publish`: store and pin a release, so that its programs run by CID."""

from __future__ import annotations

from pathlib import Path

import click

from bacpack.cli.output import Output, common_options, human_bytes, table

EPILOG = """\b
Examples:
  bacpack publish out
  bacpack publish out --car release.car
  bacpack publish app.wasm --dry-run --json
  bacpack publish out --to car:release.car

\b
Targets: `store`, the store on this machine (the default); `car:FILE`, a CAR file.

\b
Exit status:
  0  done
  1  a file is not what the manifest says, or a module is missing
  2  wrong usage or input, or a target cannot be written
"""


@click.command(epilog=EPILOG)
@click.argument("paths", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "targets", metavar="TARGET", multiple=True,
              help="Where to publish; may be given more than once.  [default: store]")  # fmt: skip
@click.option("--car", metavar="FILE", help="Also write a CAR file.")
@click.option("--dry-run", is_flag=True, help="Compute everything and write nothing.")
@common_options
def command(output: Output, *, paths: tuple[Path, ...], targets: tuple[str, ...], car: str | None,
            dry_run: bool) -> None:  # fmt: skip
    """Store and pin a release, so that its programs run by CID.

    A folder that `bacpack split` wrote is checked against its manifest first. With a .wasm file come the modules that
    it imports by CID, from the folder `modules` beside it or from the store.
    """
    from bacpack.cli.pack import note_left_out, refuse_output_inside
    from bacpack.content.keep import count_of
    from bacpack.content.store import BlockStore
    from bacpack.home import data_folder
    from bacpack.publish.release import plan_release
    from bacpack.publish.targets import (
        CarTarget,
        StoreTarget,
        bytes_not_in_store,
        car_path,
        parse_target,
        publish_to_store,
        write_car,
    )

    wanted = [parse_target(target) for target in targets or ("store",)]
    cars = [target for target in wanted if isinstance(target, CarTarget)]
    if car is not None and (target := CarTarget(car_path(car))) not in cars:
        cars.append(target)
    for target in cars:
        refuse_output_inside(paths, target.path)
    release = plan_release(paths, BlockStore(data_folder()))
    note_left_out(output, release.left_out)
    sizes = release.sizes.values()
    store = StoreTarget() in wanted
    with output.progress("publishing") as show:

        def on_block(count: int) -> None:
            show(f"{count} of {len(sizes)} blocks")

        # The CAR files first: whoever asked for both and has no room for one has published nothing yet.
        for target in () if dry_run else cars:
            write_car(release, target.path, on_block)
        if store and not dry_run:
            new_bytes = publish_to_store(
                release, data_folder(), on_block, lambda: output.note("waiting for garbage collection to end")
            )
        else:
            new_bytes = bytes_not_in_store(release, data_folder())
    status = "dry-run" if dry_run else "written"
    pins = [{"target": str(target), "status": status} for target in cars if target in wanted]
    if store:
        pins.insert(0, {"target": "store", "status": "dry-run" if dry_run else "pinned"})
    apps = {name: str(cid) for name, cid in release.apps.items()}
    summary = [f"{count_of(len(sizes), 'block')}, {human_bytes(sum(sizes))}"]
    if store:
        summary[0] += f", {human_bytes(new_bytes)} new to the store"
    if not dry_run:
        summary += [f"written to {target.path}" for target in cars]
    listing = table([["app", "cid"], *([name, cid] for name, cid in apps.items())]) if apps else ""
    output.result(
        {
            "root": str(release.root),
            "apps": apps,
            "blocks": len(sizes),
            "bytes": sum(sizes),
            "new_bytes": new_bytes,
            "car": str(cars[0].path) if cars else None,
            "pins": pins,
        },
        "\n      ".join([f"root  {release.root}", *summary]) + (f"\n\n{listing}" if listing else ""),
    )
    if store and not dry_run:
        first = next(iter(apps.values()), None)
        output.note(f"next: bacpack run {first}" if first else f"next: bacpack inspect {release.root}")
