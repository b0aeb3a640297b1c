"""From a project to its release: cargo, then linking and splitting, with how long each step took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bacpack.attest.attach import Circumstances, with_provenance
from bacpack.content.cid import is_cid
from bacpack.content.ref import PathRef, parse_ref
from bacpack.errors import CheckFailedError, InputError
from bacpack.files import read_file
from bacpack.manifest import MANIFEST_NAME, Manifest
from bacpack.project.cargo import MODULE_TARGET, Cargo, Package
from bacpack.project.config import CONFIG_NAME, Project
from bacpack.project.fresh import last_report, note_build
from bacpack.project.lock import LOCK_NAME, LockedModule, UrlLock
from bacpack.project.modules import FetchClosure, Modules, load_modules, refuse_unlinked
from bacpack.project.programs import add_modules, split_programs
from bacpack.split.catalog.catalog import Catalog
from bacpack.split.output import make_manifest, write_split
from bacpack.split.pipeline import Input, Split
from bacpack.split.validate import check_valid
from bacpack.wasm import Module, WasmError

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
    earlier = last_report(output)
    if earlier is not None:
        built = msgspec.convert(earlier, Built)
        _hold(lock, project, built.modules, None, setting.locked)
        return msgspec.structs.replace(built, unchanged=True, seconds={})
    clock = _Clock()
    cargo = Cargo.find(project.folder) if (project.folder / "Cargo.toml").is_file() else None
    packages = cargo.packages() if cargo else []
    options = [option for option in ("--offline", "--locked") if getattr(setting, option.removeprefix("--"))]
    crates = _module_crates(project, packages)
    libraries: dict[str, Path] = {}
    programs: dict[str, Path] = {}
    if cargo and crates:
        with clock("cargo, modules"):
            setting.show("cargo, modules")
            wanted = [*crates.values()]
            files = cargo.build(wanted, "--lib", MODULE_TARGET, options=options, say=setting.say)
            libraries = {name: _file_of(files, crate) for name, crate in crates.items()}
    with_programs = [package for package in packages if package.bins]
    if cargo and with_programs:
        with clock("cargo, programs"):
            setting.show("cargo, programs")
            target = project.tables.build.target
            programs = cargo.build(with_programs, "--bins", target, options=options, say=setting.say)
    inputs = [_input(name, path) for name, path in _in_order(project, with_programs, programs).items()]
    with clock("link"):
        named = dict(project.tables.modules) | {cid: cid for entry in inputs for cid in _linked_already(entry)}
        modules = load_modules(named, project.folder, libraries, setting.fetch)
        for entry in inputs:
            refuse_unlinked(entry.name, entry.data, modules)
    with clock("split and prove"):
        catalogs = setting.open_catalogs(project.tables.build.catalogs)
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
    if not any(package.has_build_script for package in packages):
        # What a build script reads is known to cargo alone.
        artefacts = [*libraries.values(), *programs.values()]
        others = _inputs_beside_sources(project, packages, [Path(entry.path) for entry in inputs])
        note_build(output, artefacts, others, msgspec.to_builtins(built))
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

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - started, 3)


def _module_crates(project: Project, packages: Sequence[Package]) -> dict[str, Package]:
    """The crates that names in `[modules]` stand for."""
    by_folder = {package.folder.resolve(): package for package in packages if package.library}
    crates = {}
    for name, source in project.tables.modules.items():
        ref = parse_ref(source)
        if isinstance(ref, PathRef):
            package = by_folder.get(project.resolve(str(ref.path)).resolve())
            if package is not None:
                crates[name] = package
    return crates


def _file_of(files: Mapping[str, Path], crate: Package) -> Path:
    library = crate.library or ""
    return files.get(library) or files[library.replace("-", "_")]


def _in_order(project: Project, packages: Sequence[Package], built: Mapping[str, Path]) -> dict[str, Path]:
    """All programs by name, in the order that the project gives them."""
    found = {name: built[name] for package in packages for name in package.bins if name in built}
    for path in project.tables.build.blobs:
        found[Path(path).name.removesuffix(_SUFFIX)] = project.resolve(path)
    wanted = project.tables.build.jobs
    for name in wanted:
        if name not in found:
            raise InputError(
                "no-such-program",
                f"`{CONFIG_NAME}` names the job `{name}`, which nothing builds",
                hint=f"there are: {', '.join(found) or 'none'}",
                details={"job": name},
            )
    return {name: found[name] for name in wanted} | found


def _input(name: str, path: Path) -> Input:
    data = read_file(path)
    try:
        Module.parse(data)
    except WasmError as error:
        raise InputError(error.code, f"`{path}`: {error.message}", hint=error.hint) from error
    return Input(name, data, str(path))


def _linked_already(program: Input) -> list[str]:
    """The CIDs that a program imports from as it was built."""
    namespaces = dict.fromkeys(entry.module for entry in Module.parse(program.data).imports)
    return [name for name in namespaces if is_cid(name)]


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


def _inputs_beside_sources(project: Project, packages: Sequence[Package], programs: Sequence[Path]) -> list[Path]:
    """What else a build depends on."""
    assert project.path is not None
    names = ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml", LOCK_NAME)
    paths = [project.path, *(project.folder / name for name in names), *programs]
    paths += [package.folder / "Cargo.toml" for package in packages]
    for source in project.tables.modules.values():
        ref = parse_ref(source)
        if isinstance(ref, PathRef):
            path = project.resolve(str(ref.path))
            paths += [path] if path.suffix == _SUFFIX else []
    paths += [project.resolve(catalog) / MANIFEST_NAME for catalog in project.tables.build.catalogs]
    return paths
