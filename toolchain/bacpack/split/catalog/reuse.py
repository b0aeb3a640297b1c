"""What catalogs offer to the blobs of one split, and what each blob takes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bacpack.split.catalog.catalog import Catalog, candidates, find_module
from bacpack.split.catalog.code_fitting import Fit, fit
from bacpack.split.catalog.data_module_reader import fit_data, read_existing_data
from bacpack.split.catalog.published_code import Existing
from bacpack.split.catalog.shared_module_reader import read_existing
from bacpack.split.data.image import Image
from bacpack.split.data.pieces import DataPlan
from bacpack.split.shapes.fingerprint import Blob


@dataclass
class Reuse:
    """Existing modules that the blobs of a split use."""

    catalogs: Sequence[Catalog] = ()
    #: Shared modules, lowest first, and data modules, by CID.
    code: dict[str, Existing] = field(default_factory=dict)
    data: dict[str, DataPlan] = field(default_factory=dict)
    #: The bytes of all of them.
    contents: dict[str, bytes] = field(default_factory=dict)
    #: How each blob fits the shared modules, and its image where no data module writes it.
    fits: list[Fit] = field(default_factory=list)
    images: list[Image | None] = field(default_factory=list)


def take(catalogs: Sequence[Catalog], blobs: Sequence[Blob], images: Sequence[Image | None]) -> Reuse:
    """Fit each blob to the modules of the catalogs."""
    reuse = Reuse(catalogs)
    if not catalogs:
        reuse.fits, reuse.images = [Fit() for _ in blobs], list(images)
        return reuse
    offered = Reuse(catalogs)
    for position, (blob, image) in enumerate(zip(blobs, images, strict=True)):
        found = candidates(catalogs, blob, image)
        for cid, data in found.items():
            _read(offered, cid, data)
        near = _with_lower(offered, [cid for cid in found if cid in offered.code])
        reuse.fits.append(fit(blob, {cid: offered.code[cid] for cid in near}))
        plans = {cid: offered.data[cid] for cid in found if cid in offered.data}
        if image is not None and plans:
            left = fit_data(image, position, plans, {cid: len(offered.contents[cid]) for cid in plans})
            reuse.images.append(replace(image, content=left))
        else:
            reuse.images.append(image)
    used = {cid for found in reuse.fits for cid, _ in found.places.values()}
    reuse.code = {cid: offered.code[cid] for cid in _with_lower(offered, sorted(used))}
    reuse.data = {
        cid: plan
        for cid, plan in sorted(offered.data.items())
        if any(plan.is_used_by(position) for position in range(len(blobs)))
    }
    reuse.contents = {cid: offered.contents[cid] for cid in [*reuse.code, *reuse.data]}
    return reuse


def _read(reuse: Reuse, cid: str, data: bytes) -> None:
    """Read a module that is met for the first time. One that cannot be read is passed over."""
    if cid in reuse.contents:
        return
    reuse.contents[cid] = data
    if existing := read_existing(cid, data):
        reuse.code[cid] = existing
    elif plan := read_existing_data(data):
        reuse.data[cid] = plan


def _with_lower(reuse: Reuse, cids: Sequence[str]) -> list[str]:
    """Shared modules and those that they import, directly or through others, lowest first."""
    done: dict[str, None] = {}
    entered: set[str] = set()
    pending = [(cid, False) for cid in reversed(cids)]
    while pending:
        cid, is_leaving = pending.pop()
        if is_leaving:
            done[cid] = None
        elif cid not in entered:
            entered.add(cid)
            if cid not in reuse.contents:
                _read(reuse, cid, find_module(reuse.catalogs, cid))
            if cid in reuse.code:
                pending.append((cid, True))
                pending += [(lower, False) for lower in sorted(reuse.code[cid].lower)]
    return list(done)
