"""`bacpack split`: split linked programs into a remainder each and modules they share."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bacpack.cli.options.provenance_options import provenance_options
from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.options.values import OutputPath
from bacpack.cli.terminal.byte_table import explanation_json, explanation_text, treemap_option, write_treemap
from bacpack.cli.terminal.output import Output, common_options, table
from bacpack.errors import InputError
from bacpack.text import human_bytes, shell_word

if TYPE_CHECKING:
    from bacpack.attest.attach import Circumstances
    from bacpack.manifest import Manifest
    from bacpack.split.catalog.catalog import Catalog
    from bacpack.split.model.records import Split
    from bacpack.split.pipeline.components import Program

EPILOG = """\b
Examples:
  bacpack split app.wasm
  bacpack split *.wasm -o out
  bacpack split *.wasm --skip-refused -o out
  bacpack split app.wasm tool.wasm -o out --json
  bacpack split next.wasm --catalog out -o next
  bacpack split next.wasm --catalog bafybei… --peer http://node.example:4817 -o next

\b
Several programs are compared with each other: code they have in common moves to shared modules. One program alone
is split along its name section, if it has one: a libc, a standard library, each large crate.

\b
Exit status:
  0  done
  1  a split did not come out right; nothing was written
  2  wrong usage or input, or a program that cannot be split
"""


@click.command(epilog=EPILOG)
@click.argument("blobs", metavar="BLOB...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "folder", metavar="DIR", default="split", show_default=True,
    type=OutputPath(path_type=Path), help="Folder to write to.",
)  # fmt: skip
@click.option(
    "--catalog", "catalogs", metavar="REF", multiple=True,
    help="Use the modules of an earlier split where they fit: a folder, a CAR file or a CID. May be repeated.",
)  # fmt: skip
@click.option("--skip-refused", is_flag=True, help="Split the other programs when some cannot be split.")
@click.option("--explain", is_flag=True, help="Say where the bytes went, and why code stayed in the programs.")
@treemap_option
@provenance_options
@source_options
@common_options
def command(
    output: Output,
    *,
    blobs: tuple[Path, ...],
    folder: Path,
    catalogs: tuple[str, ...],
    skip_refused: bool,
    explain: bool,
    treemap: Path | None,
    sources: SourceOptions,
    circumstances: Circumstances,
) -> None:
    """Split linked programs into a remainder each and modules they share, named by CID.

    Writes DIR/NAME.wasm for each program, DIR/modules/CID.wasm, DIR/provenance.json, which says what they were made of,
    and DIR/bacpack.json, the manifest. Before that, every module is validated, and every program is proved equal to its
    blob.
    """
    from bacpack.attest.attach import with_provenance
    from bacpack.cli.options.catalog_option import open_catalogs
    from bacpack.files import read_file
    from bacpack.split.input.blob import Input
    from bacpack.split.pipeline.admission import admit, refusal
    from bacpack.split.pipeline.proof import prove_split
    from bacpack.split.pipeline.release_folder import make_manifest, write_split

    # Millions of small objects are made and no cycles: looking for those takes a fifth of the time and frees nothing.
    gc.disable()
    inputs = [Input(app_name(path), read_file(path), str(path)) for path in blobs]
    _refuse_equal_names(blobs)
    _refuse_to_replace(blobs, folder)
    opened = open_catalogs(catalogs, sources)
    with output.progress("splitting") as show:
        programs, refused = admit(inputs, show)
        if refused and not (skip_refused and programs):
            raise refusal(refused, len(inputs))
        started = time.monotonic()
        result = _split(programs, opened, show)
        checking = time.monotonic()
        _check_valid(result, show)
        result = prove_split(result, show, catalogs)
        checked = time.monotonic()
        manifest = make_manifest(result, {app_name(path): path.name for path in blobs})
        digests = sorted({entry.digest for entry in opened})
        manifest, provenance = with_provenance(manifest, result, digests, circumstances)
        write_split(folder, result, manifest, provenance)
    seconds = time.monotonic() - started - (checked - checking)
    for entry in refused:
        output.note(f"left out: {entry.error.message}")
    if note := _gain(result, manifest):
        output.note(note)
    data, text = _as_json(manifest, blobs, folder, seconds), _as_text(manifest, folder)
    data["refused"] = [{"name": one.name, "code": one.error.code, "message": one.error.message} for one in refused]
    if explain or treemap:
        facts, table = _explained(result, treemap, folder)
        if explain:
            data["explain"] = facts
            text = f"{table}\n\n{text}"
    output.result(data, text)


def _explained(result: Split, treemap: Path | None, folder: Path) -> tuple[Any, str]:
    """Where the bytes went, as JSON and as text; drawn as well where that was asked for."""
    from bacpack.split.explain.byte_counts import explain_split

    explanation = explain_split(result)
    if treemap:
        write_treemap(explanation, treemap, folder.resolve().name)
    return explanation_json(explanation), explanation_text(explanation)


def _split(programs: Sequence[Program], catalogs: Sequence[Catalog], show: Callable[[str], None]) -> Split:
    """Split what no release of a catalog has already; components by their core modules."""
    from bacpack.split.catalog.whole_programs import find_earlier, with_earlier
    from bacpack.split.pipeline.components import pack_again
    from bacpack.split.pipeline.steps import split
    from bacpack.verdict import told_apart

    earlier = find_earlier(catalogs, [program.entry for program in programs])
    new = [program for program in programs if program.entry.name not in earlier.apps]
    parts = [part for program in new for part in program.parts.values()]
    try:
        split_parts = split(parts, show, catalogs)
    except InputError as error:
        blob = next((part.data for part in parts if part.path == error.details.get("blob")), b"")
        raise told_apart(error, blob) from error
    return with_earlier(pack_again(split_parts, new), earlier, [program.entry.name for program in programs])


def _check_valid(result: Split, show: Callable[[str], None]) -> None:
    from bacpack.split.input.validation import check_valid

    outputs = {app.name: app.data for app in result.apps if app.data is not app.blob}
    outputs |= {cid: module.data for cid, module in result.modules.items() if not module.reused}
    reused = {cid: module.data for cid, module in result.modules.items() if module.reused}
    check_valid({}, outputs, show, reused)


def app_name(path: Path) -> str:
    """The name of the app split from the blob at `path`: the file's, less `.wasm`."""
    return path.name.removesuffix(".wasm")


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8: the system's other bytes come as surrogates, which have none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_equal_names(blobs: tuple[Path, ...]) -> None:
    seen: dict[str, Path] = {}
    for path in blobs:
        if not app_name(path):
            raise InputError(
                "bad-name", f"`{path}` gives its program no name, but `.wasm` alone", hint="rename the file",
                details={"path": str(path)},
            )  # fmt: skip
        if not _is_text(path.name):
            raise InputError(
                "bad-name", f"`{path}` has a name that is not UTF-8, which no release can hold", hint="rename the file",
                details={"path": str(path)},
            )  # fmt: skip
        other = seen.setdefault(app_name(path), path)
        if other is not path:
            raise InputError(
                "equal-names",
                f"`{path}` was given twice"
                if other == path
                else f"`{other}` and `{path}` would both be written to `{app_name(path)}.wasm`",
                hint="name each program once; rename one of two that have the same file name",
            )


def _refuse_to_replace(blobs: tuple[Path, ...], folder: Path) -> None:
    for path in blobs:
        written = folder / f"{app_name(path)}.wasm"
        if written.exists() and written.samefile(path):
            raise InputError(
                "output-is-input",
                f"the remainder of `{path}` would be written over it",
                hint="choose another folder with -o",
                details={"path": str(path)},
            )


def _gain(result: Split, manifest: Manifest) -> str | None:
    """What to say of a split that gains nothing."""
    alone = len({app.blob for app in result.apps}) == 1
    if not manifest.modules:
        whole = "as it is" if all(app.data is app.blob for app in result.apps) else "as it is, without debug sections"
        if not alone:
            return f"nothing to gain: these programs have too little code in common; each was written {whole}"
        if _has_names(result):
            why, more = "its names tell of no large library that bacpack knows and can move", ""
        else:
            why = "no names of functions tell of large libraries in it"
            more = ", or keep its name section when you build it"
        return (
            f"nothing to gain: one program has nothing to be compared with, and {why}; it was written {whole}\n"
            f"hint: split it together with other programs{more}"
        )
    if any(module.reused for module in manifest.modules):
        return None
    if alone:
        return "one program alone gains nothing yet: its modules pay once another program uses them too"
    if manifest.totals.split_bytes >= manifest.totals.blob_bytes:
        return (
            "little is gained: with the names of functions that remainders keep, everything weighs no less than the "
            "programs without names\nhint: take the names out of the programs first, with `wasm-tools strip`"
        )
    return None


def _has_names(result: Split) -> bool:
    from bacpack.wasm import Module
    from bacpack.wasm.custom_sections import read_names

    parts = [entry.blob for app in result.apps for entry in app.kept_reports or ()]
    return any(read_names(Module.parse(part))[1] for part in parts)


def _as_json(manifest: Manifest, blobs: tuple[Path, ...], folder: Path, seconds: float) -> dict[str, Any]:
    """The manifest, with the paths of blobs and outputs as they are on this machine, and how long it took."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(manifest)
    paths = {app_name(path): str(path) for path in blobs}
    order = {app_name(path): position for position, path in enumerate(blobs)}
    for app in data["apps"]:
        app["blob"] = paths[app["name"]]
        app["path"] = str(folder / app["path"])
    for module in data["modules"]:
        module["path"] = str(folder / module["path"])
    data["apps"].sort(key=lambda app: order[app["name"]])
    return {**data, "seconds": round(seconds, 3)}


def _as_text(manifest: Manifest, folder: Path) -> str:
    rows = [["app", "blob", "remainder", "with modules"]]
    for app in manifest.apps:
        rows.append([app.name, *map(human_bytes, (app.blob_bytes, app.bytes, app.closure_bytes))])
    totals = manifest.totals
    share = 100 * totals.split_bytes / totals.blob_bytes if totals.blob_bytes else 100.0
    shared = sum(module.bytes for module in manifest.modules)
    lines = [
        table(rows, right=frozenset((1, 2, 3))),
        "",
        f"{len(manifest.modules)} modules, {human_bytes(shared)}; everything stored once: "
        f"{human_bytes(totals.split_bytes)} for {human_bytes(totals.blob_bytes)} of programs ({share:.0f} %)",
    ]
    modules = [module.bytes for module in manifest.modules if module.reused]
    apps = {app.cid: app.bytes for app in manifest.apps if app.reused}
    if modules:
        whole = f" and {len(apps)} of the programs" if apps else ""
        lines.append(
            f"{len(modules)} of the modules{whole}, {human_bytes(sum(modules) + sum(apps.values()))}, are reused; "
            f"new: {human_bytes(totals.split_bytes - sum(modules) - sum(apps.values()))}"
        )
    return "\n".join([*lines, f"written to {folder}; next: bacpack publish {shell_word(folder)}"])
