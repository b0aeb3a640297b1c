"""Making a project from a template: plain files, rendered by jinja2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bacpack.content.cid.reference import PathRef, parse_ref
from bacpack.errors import InputError
from bacpack.files import write_file
from bacpack.installed import shipped
from bacpack.linker.namespaces import namespace_of
from bacpack.project.pipeline_packages import pipeline_files
from bacpack.project.settings.config import toml_string

Template: TypeAlias = Literal["job", "module", "workspace"]
#: What programs are built for; the second by compilers before Rust 1.78.
Target: TypeAlias = Literal["wasm32-wasip1", "wasm32-wasi"]

#: Names that a crate may have; WebAssembly would allow more.
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
#: Names that cargo refuses, or that mean something else.
_WORDS = """
abstract alloc as async await become box break build const continue core crate deps do dyn else enum examples extern
false final fn for gen if impl in incremental let loop macro match mod move mut override priv proc_macro pub ref return
self static std struct super target test trait true try type typeof unsafe unsized use virtual where while yield
"""
#: The module of a job or workspace, unless another is named, and where it lies built in a job.
DEFAULT_MODULE = "greet"
_PREBUILT = f"modules/{DEFAULT_MODULE}.wasm"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made."""

    template: Template
    name: str
    #: The name of the module that a job calls.
    module: str = DEFAULT_MODULE
    #: What that module is, for a job; None for the one that comes with the template.
    source: str | None = None
    no_std: bool = False
    target: Target = "wasm32-wasip1"


def make_project(folder: Path, wanted: Wanted) -> list[Path]:
    """Write the files of a new project to `folder`, which must be empty or not exist; return their paths.

    Raises `InputError` (`bad-crate-name`, `folder-in-use`, and where the file of a module cannot be used).
    """
    _refuse_names(wanted)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "folder-in-use",
            f"`{folder}` is there already, and not empty",
            hint="choose another name, or another folder with --path",
            details={"path": str(folder)},
        )
    files = dict(render(wanted))
    for path, data in files.items():
        write_file(folder / path, data)
    return [folder / path for path in files]


def render(wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a project: path and content."""
    import jinja2

    values = _values(wanted)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=False
    )
    environment.filters["toml"] = toml_string
    parts = {"project": ""}
    if wanted.template != "module":
        parts["job"] = f"{wanted.name}/"
    if wanted.template == "job":
        parts["module/api"] = f"{values['api']}/"
    else:
        parts["module"] = f"{wanted.module}/"
    root = shipped("templates")
    for part, prefix in parts.items():
        for path in sorted((root / part).rglob("*")):
            if path.is_file():
                text = environment.from_string(path.read_text(encoding="utf-8")).render(values)
                # What is empty this project has no need of.
                if text:
                    yield prefix + _target(path.relative_to(root / part)), text.encode()
    if values["prebuilt"]:
        yield _PREBUILT, (root / "prebuilt" / f"{DEFAULT_MODULE}.wasm").read_bytes()
    yield from pipeline_files()


def _target(path: Path) -> str:
    """Where a file goes: what begins with a dot there begins with an underscore in a template."""
    return "/".join(f".{name[1:]}" if name.startswith("_") else name for name in path.parts)


def _values(wanted: Wanted) -> dict[str, Any]:
    module, name, template = wanted.module, wanted.name, wanted.template
    api = f"{module}-api" if template == "job" else f"{module}/api"
    jobs = [] if template == "module" else [name]
    source = wanted.source or (_PREBUILT if template == "job" else module)
    if template == "job" and wanted.source and isinstance(ref := parse_ref(wanted.source), PathRef):
        if not ref.path.is_dir():
            namespace_of(ref)
        source = str(ref.path.resolve())
    packages: dict[str, list[str]] = {f"{module}-api": []}
    if template != "job":
        packages[module] = [f"{module}-api"]
    for job in jobs:
        packages[job] = [f"{module}-api"] + ([module] if template == "workspace" else [])
    return {
        "template": template,
        "name": name,
        "module": module,
        "ident": module.replace("-", "_"),
        "api": api,
        "source": source,
        "prebuilt": template == "job" and wanted.source is None,
        "no_std": wanted.no_std,
        "target": wanted.target,
        "jobs": jobs,
        "members": [*([module] if template != "job" else []), api, *jobs],
        "packages": [
            {"name": package, "dependencies": sorted(dependencies)}
            for package, dependencies in sorted(packages.items())
        ],
    }


def _refuse_names(wanted: Wanted) -> None:
    for name in dict.fromkeys((wanted.name, wanted.module)):
        if not _NAME.fullmatch(name) or name.replace("-", "_") in _WORDS.split() or len(name) > 64:
            raise InputError(
                "bad-crate-name",
                f"`{name}` cannot be the name of a crate",
                hint="small letters and digits, words joined by hyphens, and no word of the language",
                details={"name": name},
            )
    crates = [wanted.module, f"{wanted.module}-api"]
    if wanted.template != "module" and wanted.name in crates:
        raise InputError(
            "bad-crate-name",
            f"program and module cannot both be called `{wanted.name}`",
            hint="give the module another name with --module",
            details={"name": wanted.name},
        )
    if wanted.template == "job" and wanted.source is None and wanted.module != DEFAULT_MODULE:
        raise InputError(
            "bad-crate-name",
            f"what `{wanted.module}` is was not said",
            hint=f"--module {wanted.module}=REF: a folder, a .wasm file, a CID or a URL",
            details={"name": wanted.module},
        )
