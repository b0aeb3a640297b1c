"""What the sources of a project give: programs and modules that cargo builds, and programs that something else built.

Cargo is asked each time: it alone knows of what it builds, and it is quick where nothing has changed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bacpack.content.cid.reference import PathRef, parse_ref
from bacpack.errors import InputError
from bacpack.files import read_file
from bacpack.project.languages.cargo import MODULE_TARGET, Cargo, Package
from bacpack.project.settings.config import CONFIG_NAME, Project
from bacpack.split.input.blob import Input
from bacpack.wasm import Module, WasmError

_SUFFIX = ".wasm"


@dataclass(slots=True)
class Compiled:
    """What came."""

    #: All programs, in the order in which they may use each other's code.
    programs: list[Input] = field(default_factory=list)
    #: The modules that cargo built, by their names in `[modules]`.
    libraries: dict[str, bytes] = field(default_factory=dict)


def compile_project(
    project: Project,
    options: Sequence[str],
    say: Callable[[str], object],
    step: Callable[[str], AbstractContextManager[None]],
) -> Compiled:
    """Have cargo build what a project needs, as far as it has changed; return all programs, and the crates of modules.

    `options` are given to cargo, `say` gets what it says, and each `step` is entered with its name. Raises `InputError`
    (`equal-names`, `no-such-program`, and what is wrong with a program), and what building raises.
    """
    cargo = Cargo.find(project.folder) if (project.folder / "Cargo.toml").is_file() else None
    packages = cargo.packages if cargo else []
    programs = [package for package in packages if _wanted(project, package)]
    paths = [(name, f"the crate `{entry.name}`") for entry in programs for name in _wanted(project, entry)]
    paths += [(_name_of(path), f"`{path}`") for path in project.tables.build.blobs]
    _refuse_equal_names(paths)
    crates = _module_crates(project, packages)
    _refuse_equal_names([(crate.library or "", f"the library of `{crate.name}`") for crate in crates.values()])
    compiled = Compiled()
    if cargo and crates:
        with step("cargo, modules"):
            files = cargo.build([*crates.values()], ["--lib"], MODULE_TARGET, options=options, say=say)
            # Read at once: programs for the same target may be written to the same place.
            compiled.libraries = {name: read_file(_file_of(files, crate)) for name, crate in crates.items()}
    built: dict[str, Path] = {}
    if cargo and programs:
        with step("cargo, programs"):
            what = _which(project, programs)
            built = cargo.build(programs, what, project.tables.build.target, options=options, say=say)
    found = {name: built[name] for package in programs for name in _wanted(project, package) if name in built}
    found |= {_name_of(path): project.resolve(path) for path in project.tables.build.blobs}
    _refuse_unknown(project, found, packages)
    ordered = {name: found[name] for name in project.tables.build.jobs} | found
    compiled.programs = [_input(name, path) for name, path in ordered.items()]
    return compiled


def _wanted(project: Project, package: Package) -> list[str]:
    """The programs of a crate that belong to the project: what cargo builds or `jobs` names, less `exclude`."""
    build = project.tables.build
    chosen = [name for name in package.bins if package.is_default or name in build.jobs]
    return [name for name in chosen if name not in build.exclude]


def _which(project: Project, packages: Sequence[Package]) -> list[str]:
    """Options for cargo: all programs of these crates, or each by its name where some are left out."""
    if all(len(_wanted(project, package)) == len(package.bins) for package in packages):
        return ["--bins"]
    return [f"--bin={name}" for entry in packages for name in _wanted(project, entry) if name not in entry.optional]


def _name_of(path: str) -> str:
    return Path(path).name.removesuffix(_SUFFIX)


def _module_crates(project: Project, packages: Sequence[Package]) -> dict[str, Package]:
    """The crates that names in `[modules]` stand for."""
    by_folder = {package.folder: package for package in packages if package.library}
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


def _refuse_equal_names(named: Sequence[tuple[str, str]]) -> None:
    """Raise `InputError` (`equal-names`) where two things would be one file; each comes with what it is."""
    seen: dict[str, str] = {}
    for name, what in named:
        other = seen.setdefault(name, what)
        if other != what:
            raise InputError(
                "equal-names",
                f"{other} and {what} would both be built as `{name}{_SUFFIX}`",
                hint=f"rename one of them, or name it in `exclude` below [build] in {CONFIG_NAME}",
                details={"name": name},
            )


def _refuse_unknown(project: Project, found: Mapping[str, Path], packages: Sequence[Package]) -> None:
    """Raise `InputError` (`no-such-program`) for a name in the configuration that no program has."""
    known = {*found, *(name for package in packages for name in package.bins)}
    build = project.tables.build
    for name, key, names in [*((name, "jobs", found) for name in build.jobs),
                             *((name, "exclude", known) for name in build.exclude)]:  # fmt: skip
        if name in names:
            continue
        close = difflib.get_close_matches(name, names, n=1)
        left_out = "is left out by `exclude`" if name in build.exclude else "nothing builds"
        raise InputError(
            "no-such-program",
            f"`{CONFIG_NAME}` names the program `{name}` in `{key}`, which {left_out}",
            hint=(f"did you mean `{close[0]}`? " if close else "") + f"There are: {', '.join(names) or 'none'}",
            details={"job": name},
        )


def _input(name: str, path: Path) -> Input:
    data = read_file(path)
    try:
        Module.parse(data)
    except WasmError as error:
        raise InputError(error.code, f"`{path}`: {error.message}", hint=error.hint) from error
    return Input(name, data, str(path))
