"""`bacpack fetch`: bring a CID and all it links to into the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bacpack.cli.output import Output, common_options, human_bytes
from bacpack.content.ref import CidRef, PathRef, parse_ref
from bacpack.errors import UnreachableError

EPILOG = """\b
Examples:
  bacpack fetch release.car
  bacpack fetch bafybei…

\b
A CAR file is checked whole before its first block is stored; blocks that the store holds already
may be left out of it. A CID is looked for in the store, and what is missing below it is named.

\b
Exit status:
  0  everything is in the store
  1  a block does not match its CID
  2  wrong usage or input
  3  blocks are missing
"""


@click.command(epilog=EPILOG)
@click.argument("ref")
@click.option("--no-pin", is_flag=True, help="Leave it to the next `bacpack gc` to free.")
@common_options
def command(output: Output, *, ref: str, no_pin: bool) -> None:
    """Bring a CID and all it links to into the store, and pin it.

    REF is a CAR file, or a CID or CID/path that is in the store.
    """
    from bacpack.content.keep import count_of

    wanted = parse_ref(ref)
    if isinstance(wanted, PathRef):
        result = _fetch_car(output, wanted.path, pin=not no_pin)
    elif isinstance(wanted, CidRef):
        result = _fetch_cid(wanted, pin=not no_pin)
    else:
        raise UnreachableError(
            "not-supported",
            f"`{ref}` cannot be fetched: this bacpack fetches from CAR files and the store only",
            hint="download the content as a CAR file and fetch that",
            details={"ref": ref},
        )
    kept = "pinned" if result["pinned"] else "not pinned: the next `bacpack gc` frees it"
    summary = (
        f"{count_of(result['blocks'], 'block')}, {human_bytes(result['bytes'])}, {human_bytes(result['new_bytes'])} new"
    )
    output.result({"ref": ref, **result}, "\n".join([*result["roots"], f"{summary}; {kept}"]))


def _fetch_car(output: Output, path: Path, *, pin: bool) -> dict[str, Any]:
    from bacpack.content.keep import incomplete
    from bacpack.content.pins import Pins
    from bacpack.content.provenance import Provenance
    from bacpack.content.store import BlockStore
    from bacpack.content.transfer import import_car, inspect_car, named_files, require_roots
    from bacpack.home import data_folder

    store = BlockStore(data_folder())
    with output.progress(f"checking {path}") as show:
        contents = inspect_car(path, store=store, on_progress=lambda done: show(human_bytes(done)))
    require_roots(contents, path)
    if contents.missing:
        raise incomplete(f"`{path}`", list(contents.missing), UnreachableError)

    def finish() -> None:
        Provenance(store.folder).record(named_files(store, contents.roots), f"car:{path}")
        if pin:
            pins = Pins(store.folder)
            for root in contents.roots:
                pins.add(root, path.name.removesuffix(".car"))

    with output.progress("storing") as show:
        new_bytes = import_car(path, store, finish)
    return {
        "roots": [str(root) for root in contents.roots],
        "blocks": contents.blocks,
        "bytes": contents.bytes,
        "new_bytes": new_bytes,
        "pinned": pin,
    }


def _fetch_cid(wanted: CidRef, *, pin: bool) -> dict[str, Any]:
    from bacpack.content.keep import pin_recursively, survey
    from bacpack.content.pins import Pins
    from bacpack.content.store import BlockStore
    from bacpack.content.unixfs import resolve
    from bacpack.home import data_folder

    store = BlockStore(data_folder())
    cid = resolve(store.get, wanted.cid, wanted.path)
    if pin:
        found = pin_recursively(store, Pins(store.folder), cid)
    else:
        found = survey(store, cid)
        if found.missing:
            raise found.error(str(cid), UnreachableError)
    return {"roots": [str(cid)], "blocks": found.blocks, "bytes": found.bytes, "new_bytes": 0, "pinned": pin}
