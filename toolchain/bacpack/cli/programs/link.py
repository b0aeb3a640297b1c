"""`bacpack link`: rewrite import namespaces to the CIDs of the modules that provide them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from bacpack.cli.options.values import OutputPath
from bacpack.cli.terminal.output import Output, common_options
from bacpack.cli.terminal.streams import joined
from bacpack.errors import InputError
from bacpack.text import human_bytes, shell_word

EPILOG = """\b
Examples:
  bacpack link app.wasm
  bacpack link app.wasm --map env=lib.wasm
  bacpack link app.wasm --map env=bafkrei… --map math=https://example.org/math.wasm -o out/app.wasm

\b
Exit status:
  0    linked
  2    wrong usage or input, such as a namespace that nothing provides, or a provider that lacks what is imported
"""


def _maps(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    providers: dict[str, str] = {}
    for value in values:
        name, separator, ref = value.partition("=")
        if not separator or not ref:
            raise click.BadParameter(f"`{value}` is not NAME=REF")
        if name in providers:
            raise click.BadParameter(f"`{name}` is mapped twice")
        providers[name] = ref
    return providers


@click.command(epilog=EPILOG)
@click.argument("blob", type=click.Path(path_type=Path))
@click.option("--map", "providers", metavar="NAME=REF", multiple=True, callback=_maps,
              help="Import from REF what BLOB imports from NAME.  [default: as bacpack.toml says]")  # fmt: skip
@click.option("-o", "--output", "target", metavar="FILE", type=OutputPath(path_type=Path),
              help="Write here; by default BLOB's name with `.linked` in it.")  # fmt: skip
@common_options
def command(output: Output, *, blob: Path, providers: dict[str, str], target: Path | None) -> None:
    """Rewrite the import namespaces of BLOB to the CIDs of the modules that provide them.

    REF is a .wasm file, which stands for the CID of its bytes, a CID, CID/path, ipfs://… or an http(s) URL. Without
    --map, `[modules]` of bacpack.toml says what each name stands for. Nothing else in BLOB changes, but where a module
    works on the memory of whoever uses it, BLOB gets that memory too; what it needs is then written to `modules`.
    """
    from bacpack.cli.programs.split import app_name
    from bacpack.content.cid.reference import PathRef, parse_ref
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.file_dag import FileDag
    from bacpack.files import read_file, write_file
    from bacpack.folders import data_folder
    from bacpack.linker.namespaces import link_imports, namespace_of
    from bacpack.project.configured_links import Links, check_linked, configured_links, on_one_memory
    from bacpack.project.settings.config import load_project
    from bacpack.split.input.blob import Input

    data = read_file(blob)
    refs = {name: parse_ref(ref) for name, ref in providers.items()}
    if providers:
        links = Links({name: namespace_of(ref) for name, ref in refs.items()}, known=list(refs))
        files = {links.namespaces[name]: ref.path for name, ref in refs.items() if isinstance(ref, PathRef)}
        links.modules = {cid: read_file(path) for cid, path in files.items()}
        link_imports(str(blob), data, links.namespaces)  # names that are not there come before all else
    else:
        project = load_project()
        if not project.tables.modules:
            raise click.UsageError("there is no [modules] in a bacpack.toml here: name the providers with --map")
        link_imports(str(blob), data, {})
        links = configured_links(project, data)
    namespaces = links.namespaces
    data, required = on_one_memory(Input(app_name(blob), data, str(blob)), links.modules)
    links.modules |= required
    linked = link_imports(str(blob), data, namespaces)
    check_linked(str(blob), linked.data, links, BlockStore(data_folder()))
    target = target or blob.with_name(f"{app_name(blob)}.linked.wasm")
    _refuse_to_replace(target, [blob, *(ref.path for ref in refs.values() if isinstance(ref, PathRef))])
    if required:
        for cid, module in links.modules.items():
            write_file(target.parent / "modules" / f"{cid}.wasm", module)
    write_file(target, linked.data)
    for name, ref in refs.items():
        if isinstance(ref, PathRef) and not required:
            path = shell_word(ref.path)
            output.note(f"{namespaces[name]} is `{ref}`; `bacpack publish {path}` brings it into the store")
    cid = str(FileDag().add_bytes(linked.data).cid)
    lines = [f"{target}  {cid}  {human_bytes(len(linked.data))}"]
    lines += [f"  {name} -> {namespace}" for name, namespace in namespaces.items()]
    result = {
        "path": str(target),
        "cid": cid,
        "bytes": len(linked.data),
        "linked": namespaces,
        # What nothing provides is an error; the key stays for those who read it.
        "unlinked": [],
    }
    output.result(result, joined(lines))


def _refuse_to_replace(target: Path, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if target.exists() and target.samefile(path):
            raise InputError(
                "output-is-input",
                f"what is linked would be written over `{path}`, which it is made from",
                hint="choose another file with -o",
                details={"path": str(path)},
            )
