"""Whether the store still holds what its pins keep: every pinned block is read and hashed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import links_of, walk
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.pins import Pin, Pins


@dataclass(slots=True)
class Audit:
    """What was found below some pins; a block below several counts once. Sizes are in bytes."""

    pins: int = 0
    blocks: int = 0
    bytes: int = 0
    #: Blocks that are not there, or are there but damaged.
    faults: dict[Cid, MissingBlockError] = field(default_factory=dict)
    #: The pins that lack any of them.
    broken: list[Pin] = field(default_factory=list)


def audit_pins(
    store: BlockStore, pins: Pins, wanted: Sequence[Pin], on_bytes: Callable[[int], object] | None = None
) -> Audit:
    """Read and verify every block that the pins `wanted` keep; raises `BadBlockError` and as `walk` does.

    Others may write meanwhile. A pin that they remove is not broken when its blocks go.
    """
    done = Audit()
    links: dict[Cid, Sequence[Cid]] = {}

    def read(cid: Cid) -> Sequence[Cid]:
        key = cid.to_v1()
        if key in done.faults:
            raise done.faults[key]
        if key not in links:
            block = store.get(cid)
            links[key] = links_of(cid, block)
            done.blocks += 1
            done.bytes += len(block)
            if on_bytes:
                on_bytes(len(block))
        return links[key]

    missing: dict[Cid, dict[Cid, MissingBlockError]] = {}
    for pin in wanted:
        faults: list[MissingBlockError] = []
        if pin.mode == "recursive":
            for _ in walk([pin.cid], read, faults.append):
                pass
        else:
            try:
                read(pin.cid)
            except MissingBlockError as error:
                faults.append(error)
        if faults:
            missing[pin.cid] = {error.cid.to_v1(): error for error in faults}
            done.faults |= missing[pin.cid]
    # What is not pinned any more may be gone.
    still = {pin.cid for pin in pins.all()} if missing else set()
    done.pins = len(wanted)
    done.broken = [pin for pin in wanted if pin.cid in missing and pin.cid in still]
    done.faults = {cid: error for pin in done.broken for cid, error in missing[pin.cid].items()}
    return done
