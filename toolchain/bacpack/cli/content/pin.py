"""`bacpack pin`: list, add, remove or check what the store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bacpack.cli.terminal.output import Output, common_options, table
from bacpack.content.cid.reference import CidRef, parse_ref
from bacpack.errors import CheckFailedError, InputError
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacpack.content.store.pins import Pin

EPILOG = """\b
Examples:
  bacpack pin ls
  bacpack pin add bafybei… --name release-1
  bacpack pin rm release-1
  bacpack pin verify

\b
Exit status:
  0  done
  1  `verify` found pinned blocks missing or damaged
  2  wrong usage or input
  3  blocks are missing from the store, so the content cannot be pinned
"""


@click.group(epilog=EPILOG)
def command() -> None:
    """List, add, remove or check what the store keeps.

    `bacpack gc` frees everything that no pin reaches.
    """


@command.command("ls")
@click.argument("ref", metavar="[REF|NAME]", required=False)
@common_options
def list_pins(output: Output, *, ref: str | None) -> None:
    """List the pins, oldest first, or only that of REF, or those of a NAME."""
    pins = _find(ref)
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
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.collection import pin_directly, pin_recursively
    from bacpack.content.store.pins import Pins
    from bacpack.content.unixfs.reader import resolve
    from bacpack.folders import data_folder
    from bacpack.text import count_of

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
@click.argument("ref", metavar="REF|NAME")
@common_options
def remove_pin(output: Output, *, ref: str) -> None:
    """Remove the pin of REF, or the one called NAME; its blocks stay until `bacpack gc`."""
    from bacpack.content.store.pins import Pins
    from bacpack.folders import data_folder

    found = _find(ref)
    if len(found) > 1:
        cids = [str(pin.cid) for pin in found]
        raise InputError(
            "ambiguous-name",
            f"{len(cids)} pins are called `{ref}`: {', '.join(cids)}",
            hint="name the one to remove by its CID",
            details={"name": ref, "cids": cids},
        )
    pin = found[0]
    if not Pins(data_folder()).remove(pin.cid):
        raise _not_pinned(ref)
    output.result({"cid": str(pin.cid), "name": pin.name}, f"unpinned {pin.cid}")


@command.command("verify")
@click.argument("ref", metavar="[REF|NAME]", required=False)
@common_options
def verify_pins(output: Output, *, ref: str | None) -> None:
    """Read and hash every pinned block, or those of one pin, and name what is missing or damaged."""
    from bacpack.content.store.audit import audit_pins
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.collection import incomplete
    from bacpack.content.store.pins import Pins
    from bacpack.folders import data_folder
    from bacpack.text import count_of

    store, wanted = BlockStore(data_folder()), _find(ref)
    with output.progress("checking pins") as show:
        done = audit_pins(store, Pins(data_folder()), wanted, show.add)
    if done.broken:
        what = ", ".join(f"{pin.cid} ({pin.name})" if pin.name else str(pin.cid) for pin in done.broken[:3])
        more = f" and {len(done.broken) - 3} more" if len(done.broken) > 3 else ""
        error = incomplete(f"what is pinned as {what}{more}", list(done.faults.values()), CheckFailedError)
        error.details["pins"] = [{"cid": str(pin.cid), "name": pin.name} for pin in done.broken]
        raise error
    output.result(
        {"ok": True, "pins": done.pins, "blocks": done.blocks, "bytes": done.bytes},
        f"ok: {count_of(done.pins, 'pin')}, {count_of(done.blocks, 'block')}, {human_bytes(done.bytes)}",
    )


def _find(ref: str | None) -> list[Pin]:
    """The pins of a CID, of what a CID/path leads to, or of a name; all of them if `ref` is None."""
    from bacpack.content.cid.cid import is_cid
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.pins import Pins
    from bacpack.content.unixfs.reader import resolve
    from bacpack.folders import data_folder

    pins = Pins(data_folder()).all()
    if ref is None:
        return pins
    found = [] if is_cid(ref) else [pin for pin in pins if pin.name == ref]
    if not found and isinstance(wanted := parse_ref(ref), CidRef):
        cid = wanted.cid
        if wanted.path:
            cid = resolve(BlockStore(data_folder()).get, cid, wanted.path)
        found = [pin for pin in pins if pin.cid == cid.to_v1()]
    if not found:
        raise _not_pinned(ref)
    return found


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
