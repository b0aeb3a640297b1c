"""From blobs to modules: the stages in the order data flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, compress

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.manifest import ModuleKind
from bacpack.parallel import in_workers
from bacpack.split.abi.environment import environment, environment_cid
from bacpack.split.catalog.catalog import Catalog, data_features, shape_features
from bacpack.split.catalog.code_fitting import Fit
from bacpack.split.catalog.reuse import Reuse, take
from bacpack.split.data.image import Image, image
from bacpack.split.data.own_pieces import own_data
from bacpack.split.data.pieces import DataPlan, share_data
from bacpack.split.data.scratch import find_scratch
from bacpack.split.emit.data_module import write_data_module
from bacpack.split.emit.engine_limits import is_within_limits
from bacpack.split.emit.remainder import SharedData, write_remainder
from bacpack.split.emit.shared_module import Shared, unlike, write_shared
from bacpack.split.input.blob import Input, in_blob
from bacpack.split.input.custom_sections import stripped_size, without_debug
from bacpack.split.model.grouping import Group
from bacpack.split.model.records import (
    NO_LIBRARY,
    TOO_LARGE,
    KeptFunction,
    KeptReport,
    OutputApp,
    OutputModule,
    Split,
    namespaces,
)
from bacpack.split.plan.demand import called_directly, demand
from bacpack.split.plan.kept_functions import all_stay, stayed, unread
from bacpack.split.plan.libraries_by_name import group_by_name, may_be_grouped
from bacpack.split.plan.matching import SharedFunction, match
from bacpack.split.plan.partition import chunks, own_groups, partition
from bacpack.split.plan.resolution import SharedPlan, resolve
from bacpack.split.plan.table_placement import place
from bacpack.split.shapes.fingerprint import Blob, fingerprint
from bacpack.split.shapes.identical import find_identical
from bacpack.split.shapes.unreachable import drop_unreachable
from bacpack.wasm import Module, WasmError
from bacpack.wasm.custom_sections import read_names
from bacpack.wasm.relocations import has_relocations

#: Below this many bytes, starting another process takes longer than it saves.
_WORTH_A_PROCESS = 4_000_000
_NO_MODULE = Module(b"", [])


def split(
    inputs: Sequence[Input],
    show: Callable[[str], None] = lambda state: None,
    catalogs: Sequence[Catalog] = (),
    *,
    least_own_data: int = 0,
) -> Split:
    """Split blobs into remainders and modules they share, first those of `catalogs`.

    Data that one blob alone has becomes a module if there are so many bytes of it.

    The same blobs give the same modules in whatever order they come. `show` is told how far the work is. Raises
    `InputError` for a blob that is malformed or cannot be split soundly.
    """
    if not inputs:
        return Split([], {})
    # Equal blobs are one; the order of the rest is that of their hashes, and so nobody's choice.
    digests = [sha256(entry.data).digest() for entry in inputs]
    distinct = sorted(dict(reversed([*zip(digests, inputs, strict=True)])).items())
    programs = [entry for _, entry in distinct]
    made = _make_within_limits(programs, show, catalogs, least_own_data)
    outputs = {module.cid: module for module in made.modules}
    split_blobs = {}
    for (digest, entry), data, why in zip(distinct, made.programs, made.stayed, strict=True):
        imports = tuple(cid for cid in namespaces(data) if cid in outputs)
        kept_reports = KeptReport(entry.data, data, why)
        split_blobs[digest] = OutputApp("", entry.data, stripped_size(entry.module), data, imports, (kept_reports,))
    apps = [replace(split_blobs[digest], name=entry.name) for digest, entry in zip(digests, inputs, strict=True)]
    every = Split(apps, outputs)
    needed = set().union(*(every.closure(app) for app in apps))
    return Split(apps, {cid: module for cid, module in outputs.items() if cid in needed}, made.features)


@dataclass(frozen=True, slots=True)
class _Made:
    """What becomes of each program, the functions that it keeps, with the reason, and all modules."""

    programs: list[bytes]
    stayed: list[list[KeptFunction]]
    modules: list[OutputModule]
    features: dict[str, list[bytes]]


def _make_within_limits(
    programs: Sequence[Input], show: Callable[[str], None], catalogs: Sequence[Catalog], least_own_data: int
) -> _Made:
    """Split programs; one of which more than engines accept would be left stays as it is, and takes no part."""
    if not programs:
        return _Made([], [], [], {})
    if len(programs) == 1 and not catalogs and not _may_gain_alone(programs[0].module):
        module = programs[0].module
        return _Made([without_debug(module)], [unread(module, NO_LIBRARY)], [], {})
    made = _make(programs, show, catalogs, least_own_data)
    fitting = [is_within_limits(data) for data in made.programs]
    if all(fitting):
        return made
    rest = _make_within_limits([*compress(programs, fitting)], show, catalogs, least_own_data)
    others = iter(zip(rest.programs, rest.stayed, strict=True))
    parts = [
        next(others) if fits else (without_debug(entry.module), unread(entry.module, TOO_LARGE))
        for entry, fits in zip(programs, fitting, strict=True)
    ]
    return _Made([data for data, _ in parts], [why for _, why in parts], rest.modules, rest.features)


def _may_gain_alone(module: Module) -> bool:
    """Whether one program alone may have modules: only relocations or names tell what others may share with it."""
    return has_relocations(module) or may_be_grouped(module, read_names(module)[1])


def _make(
    programs: Sequence[Input], show: Callable[[str], None], catalogs: Sequence[Catalog], least_own_data: int
) -> _Made:
    """Compare programs that are all different, and write what they share."""
    blobs = _fingerprint_all(programs, show)
    show("comparing programs")
    images = [image(blob) for blob in blobs]
    reuse = take(catalogs, blobs, images)
    groups = _groups(blobs, reuse.fits, alone=len(blobs) == 1 and not catalogs)
    data_plans = share_data(reuse.images) if len(blobs) > 1 else []
    own = own_data(reuse.images, [blob.hints for blob in blobs], data_plans)
    data_plans += [plan for plan in own if sum(len(piece.content) for piece in plan.pieces) >= least_own_data]
    show("writing modules")
    linked = link(blobs, groups, images, data_plans, reuse)
    unshared = [without_debug(blob.module) for blob in blobs]
    if len(blobs) > 1 and linked.weight >= sum(stripped_size(blob.module) for blob in blobs):
        return _Made(unshared, all_stay(blobs), [], {})
    kinds: list[tuple[ModuleKind, list[bytes], bool]] = [
        ("environment", [environment()], False),
        ("shared", linked.modules, False),
        ("data", linked.data, False),
        ("shared", [reuse.contents[cid] for cid in reuse.code], True),
        ("data", [reuse.contents[cid] for cid in reuse.data], True),
    ]
    modules = [
        OutputModule(str(cid_of_bytes(data)), data, kind, namespaces(data), reused)
        for kind, contents, reused in kinds
        for data in contents
    ]
    choices = zip(linked.remainders, unshared, linked.shares, strict=True)
    chosen = [remainder if shares else whole for remainder, whole, shares in choices]
    return _Made(chosen, linked.stayed, modules, linked.features)


@dataclass(frozen=True, slots=True)
class Linked:
    """The bytes of all new modules, and for each blob its remainder and whether it shares anything at all."""

    modules: list[bytes]
    data: list[bytes]
    remainders: list[bytes]
    shares: list[bool]
    #: By CID, what the catalog knows modules by, new ones and existing ones.
    features: dict[str, list[bytes]]
    #: For each blob, the functions that its remainder keeps, and why.
    stayed: list[list[KeptFunction]]

    @property
    def weight(self) -> int:
        """The size of everything together, names left out as in the size of a stripped blob."""
        remainders = (stripped_size(Module.parse(data)) for data in self.remainders)
        return sum(map(len, chain(self.modules, self.data))) + sum(remainders)


def link(
    blobs: Sequence[Blob],
    groups: Sequence[Group[SharedFunction]],
    images: Sequence[Image | None],
    data_plans: Sequence[DataPlan],
    reuse: Reuse | None = None,
) -> Linked:
    """Write the shared modules for `groups`, lowest first, the data modules, and the remainder of each blob."""
    reuse = reuse or Reuse(fits=[Fit() for _ in blobs])
    plan = resolve(blobs, groups, list(reuse.code.values()), reuse.fits)
    demands = demand(plan, blobs)
    namespace = environment_cid()
    modules: list[bytes] = []
    shared: list[Shared] = []
    features: dict[str, list[bytes]] = {}
    called = called_directly(plan)
    taken = {module.existing.cid for module in plan.modules if module.existing}
    for number, (module, placers) in enumerate(zip(plan.modules, place(plan, demands), strict=True)):
        if module.existing:
            cid = module.existing.cid
            features[cid] = shape_features(function.shape for function in module.existing.functions)
        else:
            data = unlike(taken, write_shared(plan, number, placers, called[number], blobs, namespace, shared))
            cid = str(cid_of_bytes(data))
            taken.add(cid)
            features[cid] = shape_features(_shapes(blobs, module))
            modules.append(data)
        size = len(module.existing.functions if module.existing else module.functions)
        shared.append(Shared(module, cid, size, placers))
    scratch_places = find_scratch(images, [*data_plans, *reuse.data.values()])
    data_plans = [entry for entry in data_plans if any(map(entry.is_used_by, range(len(blobs))))]
    written = [(entry, write_data_module(entry, namespace)) for entry in data_plans]
    written = [(entry, data) for entry, data in written if is_within_limits(data)]
    shared_data = [SharedData(entry, str(cid_of_bytes(data))) for entry, data in written]
    shared_data += [SharedData(entry, cid) for cid, entry in reuse.data.items()]
    for entry in shared_data:
        features[entry.namespace] = data_features(piece.content for piece in entry.plan.pieces)
    remainders = [
        write_remainder(plan, position, blob, demands[position], shared, namespace, image, shared_data, scratch)
        for position, (blob, image, scratch) in enumerate(zip(blobs, images, scratch_places, strict=True))
    ]
    shares = [
        bool(locations) or any(entry.plan.is_used_by(position) for entry in shared_data)
        for position, locations in enumerate(plan.locations)
    ]
    reasons = stayed(blobs, plan.locations, [entry.kept for entry in demands])
    return Linked(modules, [data for _, data in written], remainders, shares, features, reasons)


def _shapes(blobs: Sequence[Blob], module: SharedPlan) -> Iterator[bytes]:
    for function in module.functions.values():
        shape = blobs[function.blob].functions[function.index].shape
        assert shape is not None
        yield shape


def _groups(blobs: Sequence[Blob], fits: Sequence[Fit], *, alone: bool) -> list[Group[SharedFunction]]:
    """Which functions go together: those of several blobs, then what is left of each for blobs to come.

    One blob that is `alone` and has no relocations has only its names to go by: the rest had better stay as it is.
    """
    placed = [fit.places for fit in fits]
    if len(blobs) > 1:
        groups = partition(blobs, match(blobs, placed))
    else:
        named = group_by_name(blobs[0], _names(blobs[0]), placed[0])
        groups = [part for _, group in named for part in chunks(blobs, group)]
        alone = alone and blobs[0].hints is None
    return groups if alone else groups + own_groups(blobs, groups, placed)


def _names(blob: Blob) -> Mapping[int, str]:
    """The names of functions, by index: those that the linker knew them by, else those of the name section."""
    return blob.hints.names if blob.hints and blob.hints.names else read_names(blob.module)[1]


def _fingerprint_all(inputs: Sequence[Input], show: Callable[[str], None]) -> list[Blob]:
    modules = [entry.module for entry in inputs]
    alone = len(inputs) == 1  # else this is done in workers, which show nothing themselves

    def fingerprint_one(position: int) -> Blob:
        try:
            blob = fingerprint(modules[position], show if alone else lambda state: None)
        except WasmError as error:
            raise in_blob(inputs[position], error) from error
        drop_unreachable(blob)
        blob.same = find_identical(blob)
        blob.module = _NO_MODULE  # it is here already
        return blob

    costs = [len(entry.data) for entry in inputs]
    if sum(costs) < _WORTH_A_PROCESS:
        blobs = [fingerprint_one(position) for position in range(len(inputs))]
    else:
        blobs = in_workers(fingerprint_one, costs, show, "programs read")
    for blob, module in zip(blobs, modules, strict=True):
        blob.module = module
    return blobs
