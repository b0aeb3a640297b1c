"""`bacpack pin`: list, add or remove what the store keeps."""

from __future__ import annotations

import click

from bacpack.cli.output import Output, common_options, human_bytes, table
from bacpack.content.ref import CidRef, parse_ref
from bacpack.errors import InputError

EPILOG = """\b
Examples:
  bacpack pin ls
  bacpack pin add bafybei… --name release-1
  bacpack pin rm bafybei…

\b
Exit status:
  0  done
  2  wrong usage or input
  3  blocks are missing from the store, so the content cannot be pinned
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """List, add or remove what the store keeps.

    `bacpack gc` frees everything that no pin reaches.
    """


@command.command("ls")
@click.argument("ref", required=False)
@common_options
def list_pins(output: Output, *, ref: str | None) -> None:
    """List the pins, oldest first, or only that of REF."""
    from bacpack.content.pins import Pins
    from bacpack.home import data_folder

    pins = Pins(data_folder()).all()
    if ref is not None:
        cid = _cid_ref(ref).cid.to_v1()
        pins = [pin for pin in pins if pin.cid == cid]
        if not pins:
            raise _not_pinned(ref)
    rows = [["cid", "mode", "created", "name"], *([str(p.cid), p.mode, p.created, p.name] for p in pins)]
    output.result(
        {"pins": [{"cid": str(p.cid), "name": p.name, "mode": p.mode, "created": p.created} for p in pins]},
        table(rows) if pins else "",
    )
    if not pins:
        output.note("nothing is pinned")


@command.command("add")
@click.argument("ref")
@click.option("--name", default="", help="What to call it in `bacpack pin ls`.")
@click.option("--direct", is_flag=True, help="Keep the one block, not what it links to.")
@common_options
def add_pin(output: Output, *, ref: str, name: str, direct: bool) -> None:
    """Pin REF, a CID or CID/path, with everything that it links to.

    All its blocks must be in the store; those that are missing are named.
    """
    from bacpack.content.keep import count_of, pin_directly, pin_recursively
    from bacpack.content.pins import Pins
    from bacpack.content.store import BlockStore
    from bacpack.content.unixfs import resolve
    from bacpack.home import data_folder

    wanted = _cid_ref(ref)
    store, pins = BlockStore(data_folder()), Pins(data_folder())
    cid = resolve(store.get, wanted.cid, wanted.path)
    result: dict[str, object] = {"cid": str(cid), "name": name}
    if direct:
        pin_directly(store, pins, cid, name)
        output.result({**result, "mode": "direct"}, f"pinned {cid}, this block alone")
        return
    with output.progress(f"checking {cid}") as show:
        found = pin_recursively(store, pins, cid, name, show.add)
    output.result(
        {**result, "mode": "recursive", "blocks": found.blocks, "bytes": found.bytes},
        f"pinned {cid}: {count_of(found.blocks, 'block')}, {human_bytes(found.bytes)}",
    )


@command.command("rm")
@click.argument("ref")
@common_options
def remove_pin(output: Output, *, ref: str) -> None:
    """Remove the pin of REF; its blocks stay until `bacpack gc`."""
    from bacpack.content.pins import Pins
    from bacpack.home import data_folder

    cid = _cid_ref(ref).cid
    if not Pins(data_folder()).remove(cid):
        raise _not_pinned(ref)
    output.result({"cid": str(cid.to_v1())}, f"unpinned {cid}")


def _cid_ref(text: str) -> CidRef:
    ref = parse_ref(text)
    if not isinstance(ref, CidRef):
        raise InputError(
            "not-a-cid",
            f"`{text}` is no CID, and only CIDs are pinned",
            hint="`bacpack publish` stores and pins files; `bacpack fetch` does so with a CAR file",
            details={"ref": text},
        )
    return ref


def _not_pinned(ref: str) -> InputError:
    return InputError("not-pinned", f"`{ref}` is not pinned", hint="see `bacpack pin ls`", details={"ref": ref})
