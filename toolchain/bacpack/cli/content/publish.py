"""`bacpack publish`: bring a release to where it is kept, so that its programs run by CID."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bacpack.cli.options.values import OutputPath
from bacpack.cli.terminal.output import Output, common_options, table
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacpack.cli.terminal.progress import Progress
    from bacpack.publish.release.release import Release
    from bacpack.publish.targets.parse_target import ParsedTarget, Setting
    from bacpack.publish.targets.publish import Outcome
    from bacpack.publish.targets.target import Target
    from bacpack.publish.targets.tokens import TokenKind

EPILOG = """\b
Examples:
  bacpack publish out
  bacpack publish .
  bacpack publish out --car release.car
  bacpack publish app.wasm --dry-run --json
  bacpack publish out --to store --to kubo:http://127.0.0.1:5001
  bacpack publish out --to node:https://node.example --token-file node=token
  bacpack publish out --catalog

\b
Targets: `store`, the store on this machine (the default); `car:FILE`, a CAR file; `kubo:URL`, the RPC of a Kubo;
`pinning-service:URL`, an IPFS Pinning Service API, which fetches the content itself; `node:URL`, a node of bacpack.
Without --to, those of `[publish] to` in bacpack.toml. All are tried, and only what a target lacks is sent.

\b
Tokens come from BACPACK_KUBO_TOKEN, BACPACK_PINNING_TOKEN and BACPACK_NODE_TOKEN, or from files.

\b
Exit status:
  0  done
  1  a file is not what the manifest says, a module is missing, or the sources were changed since the build
  2  wrong usage or input, a program that nothing provides an import of, or the store cannot be written
  3  a service could not be published to, or one of several targets
"""


def _token_files(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    from bacpack.publish.targets.tokens import TOKEN_KINDS

    files: dict[str, Path] = {}
    for value in values:
        kind, _, path = value.partition("=")
        if kind not in TOKEN_KINDS or not path:
            # Not repeated: whoever wrote a token there by mistake has it in enough places.
            raise click.BadParameter(f"it is KIND=FILE, and KIND one of {', '.join(TOKEN_KINDS)}")
        files[kind] = Path(path)
    return files


def _origins(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    for value in values:
        if not value.startswith("/") or "/p2p/" not in value:
            raise click.BadParameter(f"`{value}` is no multiaddr that ends in /p2p/PEER-ID")
    return values


@click.command(epilog=EPILOG)
@click.argument("paths", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "targets", metavar="TARGET", multiple=True,
              help="Where to publish; may be given more than once.  [default: store]")  # fmt: skip
@click.option("--car", metavar="FILE", type=OutputPath(), help="Also write a CAR file.")
@click.option("--catalog", is_flag=True, help="Publish the catalog and the modules alone, without the programs.")
@click.option("--token-file", "token_files", metavar="KIND=FILE", multiple=True, callback=_token_files,
              help="Where the token for `kubo`, `pinning` or `node` targets is.")  # fmt: skip
@click.option("--origin", "origins", metavar="MULTIADDR", multiple=True, callback=_origins,
              help="An IPFS node that a pinning service can fetch from, beside the Kubo targets.")  # fmt: skip
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(min=0, min_open=True), default=600,
              show_default=True, help="Time limit for each target.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Compute everything, ask the targets what they lack, and write nothing.")
@common_options
def command(output: Output, *, paths: tuple[Path, ...], targets: tuple[str, ...], car: str | None, catalog: bool,
            token_files: dict[TokenKind, Path], origins: Sequence[str], timeout: float,
            dry_run: bool) -> None:  # fmt: skip
    """Bring a release to where it is kept, so that its programs run by CID.

    A folder that `bacpack split` wrote is checked against its manifest first; for the folder of a project this is what
    `bacpack build` wrote. With a .wasm file come the modules that
    it imports by CID, from the folder `modules` beside it or from the store.
    """
    from bacpack.cli.content.pack import note_left_out
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder
    from bacpack.project.built_release import built_release
    from bacpack.project.settings.config import load_project
    from bacpack.publish.release.catalog_release import catalog_of
    from bacpack.publish.release.release import plan_release
    from bacpack.publish.release.unlinked_imports import refuse_unlinked
    from bacpack.publish.targets.parse_target import Setting, open_targets, parse_target
    from bacpack.publish.targets.publish import failure, publish

    project = load_project()
    setting = Setting(
        folder=data_folder(),
        seconds=timeout,
        token_files=token_files,
        configured_token_files={kind: project.resolve(path) for kind, path in project.publish.token_files.items()},
        origins=origins or project.publish.origins,
        on_wait=lambda: output.note("waiting for garbage collection to end"),
        note=output.note,
    )
    if not targets and project.publish.to:
        targets = tuple(project.publish.to)
        output.note(f"publishing to {', '.join(targets)}, as `{project.path}` says")
    named = [parse_target(target) for target in targets or ("store",)]
    opened = open_targets(_with_car(paths, named, car), setting)
    with output.progress("asking cargo"):
        paths, name = built_release(paths, output.note)
    with output.progress("hashing") as show:
        release = plan_release(paths, BlockStore(data_folder()), show.add)
    if name:
        release = replace(release, name=name)
    note_left_out(output, release.left_out)
    if catalog:
        release = catalog_of(release)
    refuse_unlinked(release, BlockStore(data_folder()))
    with output.progress("publishing") as show:
        outcomes = publish(release, opened, _Watch(release, show), dry_run=dry_run)
    result = _result(release, outcomes, named, setting)
    error = failure(outcomes, result)
    if error:
        raise error
    output.result(result, _text(release, outcomes, dry_run))
    if not dry_run and any(outcome.target.label == "store" for outcome in outcomes):
        output.note(f"next: bacpack {_next(release, catalog=catalog)}")


def _next(release: Release, *, catalog: bool) -> str:
    """What to do with what was published: a component and a library are no programs that `run` would take."""
    from bacpack.publish.release.release import first_program

    if catalog:
        return f"split NEXT.wasm --catalog {release.root}"
    program = first_program(release)
    return f"run {program}" if program else f"inspect {release.root}"


class _Watch:
    """Shows on stderr what is being sent where."""

    def __init__(self, release: Release, show: Progress) -> None:
        self._release = release
        self._show = show

    def asking(self, target: Target) -> None:
        if "://" in target.label:
            self._show.waiting("what it lacks", target.label)

    def sending(self, target: Target, blocks: int, size: int) -> Callable[[int, int], None]:
        if target.label == "store":
            # It is given all blocks, and repairs those that are damaged.
            blocks, size = len(self._release.sizes), sum(self._release.sizes.values())
        self._show.total_bytes = size
        self._show(0, target.label)

        def on_block(count: int, block_bytes: int) -> None:
            self._show.add(block_bytes, f"{target.label}: {count} of {blocks} blocks")
            if count == blocks and "://" in target.label:
                self._show.waiting("an answer", target.label)

        return on_block


def _with_car(paths: tuple[Path, ...], named: Sequence[ParsedTarget], car: str | None) -> list[ParsedTarget]:
    """Return all targets: those of `--to` and the file of `--car`; raises `InputError` (`output-inside-input`)."""
    from bacpack.cli.content.pack import refuse_output_inside
    from bacpack.publish.targets import car_path
    from bacpack.publish.targets.parse_target import ParsedTarget

    targets = list(named)
    if car is not None:
        targets.append(ParsedTarget("car", str(car_path(car))))
    for one in targets:
        if one.kind == "car":
            refuse_output_inside(paths, Path(one.address))
    return targets


def _result(
    release: Release, outcomes: Sequence[Outcome], named: Sequence[ParsedTarget], setting: Setting
) -> dict[str, Any]:
    """Return the JSON; the targets in it are those of `--to`, the store first and the others as they were named."""
    from bacpack.publish.targets import CarTarget, StoreTarget, bytes_of

    cars = [outcome.target for outcome in outcomes if isinstance(outcome.target, CarTarget)]
    counted = [outcome.new_bytes for outcome in outcomes if not isinstance(outcome.target, CarTarget)]
    if not counted:
        counted = [bytes_of(release, StoreTarget(setting.folder).ask(release).cids)]
    by_label = {outcome.target.label: outcome for outcome in outcomes}
    labels = dict.fromkeys(map(str, sorted(named, key=lambda one: one.kind != "store")))
    return {
        "root": str(release.root),
        "apps": {name: str(cid) for name, cid in release.apps.items()},
        "blocks": len(release.sizes),
        "bytes": sum(release.sizes.values()),
        "new_bytes": sum(counted),
        "car": str(cars[0].path) if cars else None,
        "pins": [by_label[label].described() for label in labels],
    }


def _text(release: Release, outcomes: Sequence[Outcome], dry_run: bool) -> str:
    from bacpack.publish.targets import CarTarget, StoreTarget
    from bacpack.text import count_of

    summary = [f"{count_of(len(release.sizes), 'block')}, {human_bytes(sum(release.sizes.values()))}"]
    for outcome in outcomes:
        target = outcome.target
        if isinstance(target, StoreTarget):
            summary[0] += f", {human_bytes(outcome.new_bytes)} new to the store"
        elif isinstance(target, CarTarget):
            summary += [] if dry_run else [f"written to {target.path}"]
        else:
            done = "" if dry_run else "pinned; "
            summary.append(f"{target.label}: {done}{human_bytes(outcome.new_bytes)} new to it")
    listing = table([["app", "cid"], *([name, str(cid)] for name, cid in release.apps.items())])
    return "\n      ".join([f"root  {release.root}", *summary]) + (f"\n\n{listing}" if release.apps else "")
