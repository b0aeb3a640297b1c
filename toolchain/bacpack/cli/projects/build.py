"""`bacpack build`: build a project with cargo, link its programs with their modules, and split them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bacpack.cli.options.provenance_options import provenance_options
from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.terminal.output import Output, common_options, table
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacpack.attest.attach import Circumstances
    from bacpack.project.build import Built

EPILOG = """\b
Examples:
  bacpack build
  bacpack build --locked --offline
  bacpack build && bacpack publish .

\b
Programs are those that `cargo build` builds here, for wasm32-wasip1, less those of `[build] exclude`, and those of
`[build] blobs`. Modules are what `[modules]` in bacpack.toml names, built for wasm32-unknown-unknown. Flags for the
compiler are taken from wherever cargo takes them. `CARGO` names another cargo.

\b
Exit status:
  0  done, or nothing had changed
  1  cargo failed, a split did not come out right, or --locked and bacpack.lock is stale
  2  wrong usage or configuration, a target that is not installed, or a program that cannot be split
  3  a module could not be fetched
"""


@click.command(epilog=EPILOG)
@click.option("--locked", is_flag=True, help="Fail where bacpack.lock would change.")
@provenance_options
@source_options
@common_options
def command(output: Output, *, locked: bool, sources: SourceOptions, circumstances: Circumstances) -> None:
    """Build the project of this folder: cargo, then linking and splitting.

    The release is written to `[build] output`, target/bacpack unless configured: `bacpack publish .` finds it there. A
    second build with nothing changed asks cargo, and not the network.
    """
    from bacpack.project.settings.config import load_project

    built = build(output, load_project().path, locked=locked, sources=sources, circumstances=circumstances)
    output.result(as_json(built), as_text(built))


def build(output: Output, path: Any, *, locked: bool, sources: SourceOptions, circumstances: Circumstances) -> Built:
    """Build the project whose configuration is at `path`, telling the person what cargo says."""
    import gc

    from bacpack.cli.options.catalog_option import open_catalogs
    from bacpack.cli.options.source_options import closure_fetcher
    from bacpack.project.build import Setting, build_project
    from bacpack.project.settings.config import load_project

    # As in `bacpack split`.
    gc.disable()
    with output.progress("building") as show:
        setting = Setting(
            fetch=closure_fetcher(sources.web),
            open_catalogs=lambda refs: open_catalogs(refs, sources),
            show=show,
            say=output.note,
            circumstances=circumstances,
            offline=sources.offline,
            locked=locked,
        )
        return build_project(load_project(path.parent if path else None), setting)


def as_json(built: Built) -> dict[str, Any]:
    """What a build gave, with the paths of programs and modules as they are on this machine."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(built.manifest)
    for entry in [*data["apps"], *data["modules"]]:
        entry["path"] = f"{built.folder}/{entry['path']}"
    named = [{"name": name, "cid": cid} for name, cid in built.modules.items()]
    return {**data, "folder": built.folder, "named": named, "seconds": built.seconds, "unchanged": built.unchanged}


def as_text(built: Built) -> str:
    """The same for people."""
    parts = []
    if built.manifest.apps:
        rows = [["program", "cid", "blob", "remainder", "with modules"]]
        for app in built.manifest.apps:
            sizes = map(human_bytes, (app.blob_bytes, app.bytes, app.closure_bytes))
            rows.append([app.name, app.cid, *sizes])
        parts.append(table(rows, frozenset((2, 3, 4))))
    if built.modules:
        sizes_by_cid = {module.cid: module.bytes for module in built.manifest.modules}
        rows = [["module", "cid", "size"]]
        rows += [[name, cid, human_bytes(sizes_by_cid[cid])] for name, cid in built.modules.items()]
        parts.append(table(rows, frozenset((2,))))
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in built.seconds.items())
    parts.append("nothing has changed" if built.unchanged else steps)
    return "\n\n".join([*parts[:-1], f"{parts[-1]}\nin {built.folder}; next: bacpack publish ."])
