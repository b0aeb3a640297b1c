"""From blobs to modules: the stages in the order data flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from bacpack.content.cid import Cid
from bacpack.split.demand import demand, wanted
from bacpack.split.environment import environment
from bacpack.split.fingerprint import Blob
from bacpack.split.match import match
from bacpack.split.partition import Group, partition
from bacpack.split.remainder import Shared, write_remainder
from bacpack.split.resolve import resolve
from bacpack.split.shared import Provider, export_names, write_shared


def link(blobs: Sequence[Blob], groups: Sequence[Group]) -> tuple[list[bytes], list[bytes]]:
    """Write the shared modules for `groups`, lowest first, and the remainder of each blob."""
    plan = resolve(blobs, groups)
    demands = demand(plan, blobs)
    wants = wanted(plan, demands)
    namespace = str(Cid.of_raw(environment()))
    written: list[bytes] = []
    shared: list[Shared] = []
    for number, (module, want) in enumerate(zip(plan.modules, wants, strict=True)):
        data = write_shared(plan, number, want, blobs, namespace, [entry.provider for entry in shared])
        provider = Provider(str(Cid.of_raw(data)), export_names(want))
        placed = {position: place for place, position in enumerate(want.placed)}
        shared.append(Shared(module, provider, placed))
        written.append(data)
    remainders = [
        write_remainder(plan, position, blob, demands[position], shared, namespace)
        for position, blob in enumerate(blobs)
    ]
    return written, remainders
