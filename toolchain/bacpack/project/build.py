"""From a project to its release: cargo, then linking and splitting, with how long each step took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bacpack.attest.attach import Circumstances, with_provenance
from bacpack.content.cid.import_namespace import parse_namespace
from bacpack.content.cid.reference import CidRef, PathRef, parse_ref
from bacpack.errors import CheckFailedError, InputError
from bacpack.manifest import Manifest
from bacpack.project.languages.sources import compile_project
from bacpack.project.modules import FetchClosure, Modules, load_modules, refuse_unlinked
from bacpack.project.programs import add_modules, split_programs
from bacpack.project.settings.config import CONFIG_NAME, Project
from bacpack.project.settings.lock_file import LOCK_NAME, LockedModule, UrlLock
from bacpack.project.up_to_date import last_report, note_build, sources_of
from bacpack.split.catalog.catalog import Catalog
from bacpack.split.input.blob import Input
from bacpack.split.input.validation import check_valid
from bacpack.split.model.records import Split
from bacpack.split.pipeline.release_folder import make_manifest, write_split
from bacpack.wasm import Module

_SUFFIX = ".wasm"


@dataclass(slots=True)
class Setting:
    """What a build needs from outside of the project."""

    fetch: FetchClosure
    open_catalogs: Callable[[Sequence[str]], list[Catalog]]
    show: Callable[[str], None]
    #: Gets what cargo says.
    say: Callable[[str], object]
    circumstances: Circumstances = field(default_factory=Circumstances)
    offline: bool = False
    #: Refuse to change `bacpack.lock`.
    locked: bool = False

    @property
    def cargo_options(self) -> list[str]:
        """What of this cargo is told as well."""
        return [option for option in ("--offline", "--locked") if getattr(self, option.removeprefix("--"))]


class Built(msgspec.Struct, kw_only=True, frozen=True):
    """What a build gave."""

    folder: str
    manifest: Manifest
    #: CID of each module, by its name in `[modules]`.
    modules: dict[str, str]
    #: Seconds of each step.
    seconds: dict[str, float]
    #: Whether there was nothing to do.
    unchanged: bool = False


def build_project(project: Project, setting: Setting) -> Built:
    """Build a project, and write its release to the folder that `bacpack.toml` names.

    Raises `InputError` and `CheckFailedError` for what cannot be built, linked or split, and what fetching raises.
    """
    if project.path is None:
        raise InputError(
            "no-project",
            f"there is no {CONFIG_NAME} in this folder or above it",
            hint="begin with `bacpack new NAME`, or write the file",
        )
    output, lock = project.output, UrlLock(project.folder / LOCK_NAME)
    clock = _Clock(setting.show)
    compiled = compile_project(project, setting.cargo_options, setting.say, clock)
    sources = sources_of(project, compiled)
    earlier = last_report(project, sources, setting.circumstances)
    if earlier is not None:
        built = msgspec.convert(earlier, Built)
        _hold(lock, project, built.modules, None, setting.locked)
        return msgspec.structs.replace(built, unchanged=True, seconds={})
    inputs = compiled.programs
    with clock("link"):
        named = dict(project.tables.modules) | {name: name for entry in inputs for name in _linked_already(entry)}
        modules = load_modules(named, project.folder, compiled.libraries, setting.fetch)
        for entry in inputs:
            refuse_unlinked(entry.name, entry.data, modules)
    with clock("split and prove"):
        catalogs = setting.open_catalogs([_from(project, catalog) for catalog in project.tables.build.catalogs])
        result = add_modules(split_programs(inputs, modules, catalogs, setting.show), modules)
    with clock("validate"):
        outputs = {app.name: app.data for app in result.apps}
        outputs |= {cid: module.data for cid, module in result.modules.items()}
        check_valid({entry.path: entry.data for entry in inputs}, outputs, setting.show, {})
    cids = {name: provider.cid for name, provider in modules.by_name.items() if name in project.tables.modules}
    _hold(lock, project, cids, modules, setting.locked)
    with clock("write"):
        manifest = _write(output, result, [entry.digest for entry in catalogs], setting.circumstances)
    built = Built(folder=str(output), manifest=manifest, modules=cids, seconds=clock.seconds)
    note_build(project, sources, setting.circumstances, msgspec.to_builtins(built))
    return built


def _write(output: Path, result: Split, catalogs: Sequence[str], circumstances: Circumstances) -> Manifest:
    """Write the release; of a build on one's own machine there is no provenance to state."""
    manifest = make_manifest(result, {app.name: f"{app.name}{_SUFFIX}" for app in result.apps})
    provenance: dict[str, bytes] = {}
    if circumstances != Circumstances():
        manifest, provenance = with_provenance(manifest, result, catalogs, circumstances)
    write_split(output, result, manifest, provenance)
    return manifest


class _Clock:
    """How long each step takes."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self._show(step)
        started = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - started, 3)


def _from(project: Project, catalog: str) -> str:
    """A catalog as it is named from the current folder."""
    ref = parse_ref(catalog)
    return str(project.resolve(str(ref.path))) if isinstance(ref, PathRef) else catalog


def _linked_already(program: Input) -> list[str]:
    """The namespaces of a program that name content by CID, as it was built."""
    namespaces = Module.parse(program.data).import_namespaces
    return [name for name in namespaces if isinstance(parse_namespace(name), CidRef)]


def _hold(lock: UrlLock, project: Project, cids: Mapping[str, str], modules: Modules | None, locked: bool) -> None:
    """Compare what the names in `[modules]` stand for with `bacpack.lock`, and note it.

    Where they stand for what is made here it may change, unless the build is `locked`. A URL may never.
    """
    known = lock.modules()
    for name, cid in cids.items():
        entry = known.get(name)
        source = project.tables.modules[name]
        if entry is None or (entry.cid == cid and entry.source == source):
            if entry is None and locked:
                raise _stale(lock, name, "does not name it")
            continue
        if "://" in source and entry.source == source:
            raise CheckFailedError(
                "lock-mismatch",
                f"`{source}` does not give what it gave before: expected {entry.cid}, got {cid}",
                hint=f"if you trust the change, remove `{name}` from `{lock.path}` and try again",
                details={"module": name, "expected": entry.cid, "got": cid},
            )
        if locked:
            raise _stale(lock, name, f"says {entry.cid}, and the build gives {cid}")
    if locked and known.keys() - cids.keys():
        raise _stale(lock, min(known.keys() - cids.keys()), f"names it, and {CONFIG_NAME} does not")
    if modules is not None and not locked:
        entries = {
            name: LockedModule(cid=cid, bytes=len(modules.by_name[name].data), source=project.tables.modules[name])
            for name, cid in cids.items()
        }
        lock.set_modules(entries)


def _stale(lock: UrlLock, name: str, how: str) -> CheckFailedError:
    return CheckFailedError(
        "lock-stale",
        f"`{lock.path.name}` is stale: of the module `{name}` it {how}",
        hint=f"run `bacpack build`, and commit `{lock.path.name}`",
        details={"module": name},
    )
