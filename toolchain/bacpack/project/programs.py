"""Splitting the programs of a project one after the other, and linking what is left of each with its modules.

Each program is split along its relocations, against the modules that those before it left. So a program that is added
at the end changes nothing of those that were there: what was published stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bacpack.content.cid.cid import is_cid
from bacpack.linker.namespaces import link_imports
from bacpack.project.modules import Modules, refuse_misuse
from bacpack.split.abi.environment import environment, environment_cid
from bacpack.split.catalog.catalog import Catalog, catalog_files
from bacpack.split.data.image import image
from bacpack.split.input.blob import Input
from bacpack.split.model.costs import LEAST_OWN_BYTES
from bacpack.split.model.records import OutputApp, OutputModule, Split
from bacpack.split.pipeline.proof import prove_split
from bacpack.split.pipeline.steps import link, split
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.split.shapes.identical import find_identical
from bacpack.split.shapes.unreachable import drop_unreachable
from bacpack.wasm import Module
from bacpack.wasm.custom_sections import NAME_SECTION
from bacpack.wasm.writer import rewrite

#: Stands before a namespace that is a CID or URL already, while the program is split: those of modules are refused.
_SET_ASIDE = "linked "


def split_programs(
    programs: Sequence[Input],
    modules: Modules,
    catalogs: Sequence[Catalog],
    show: Callable[[str], None],
) -> Split:
    """Split programs in their order, prove each, and link it with the modules that it imports.

    Raises `InputError` for a program that cannot be split, or that misuses a module.
    """
    apps: list[OutputApp] = []
    made: dict[str, OutputModule] = {}
    features: dict[str, list[bytes]] = {}
    for number, program in enumerate(programs):
        show(f"splitting {program.name}")
        refuse_misuse(program.name, program.data, modules.by_name.values())
        before = Split([], made, features)
        known = [*catalogs, *([_open(before)] if features else [])]
        aside = _set_aside(program)
        done = split([aside], catalogs=known, least_own_data=LEAST_OWN_BYTES)
        if done.apps[0].data is done.apps[0].blob and modules.used_by(program.data):
            done = on_environment(aside)
        app, linked = _linked(program, done.apps[0], modules)
        done = replace(done, apps=[app])
        apps += prove_split(done, lambda state: None, [f"program {number}"] if known else [], linked).apps
        required = {cid: data for provider in modules.used_by(program.data) for cid, data in provider.closure.items()}
        for cid, module in done.modules.items():
            made.setdefault(cid, module)
        for cid, data in required.items():
            made.setdefault(cid, OutputModule(cid, data, "shared", _cids(data)))
        if any(environment_cid() in _cids(data) for data in required.values()):
            made.setdefault(environment_cid(), _environment())
        features |= done.features
    return Split(apps, made, features)


def add_modules(result: Split, modules: Modules) -> Split:
    """Add the modules of the project that no program uses: others may."""
    added = dict(result.modules)
    for provider in modules.by_name.values():
        for cid, data in provider.closure.items():
            added.setdefault(cid, OutputModule(cid, data, "shared", _cids(data)))
            if environment_cid() in _cids(data):
                added.setdefault(environment_cid(), _environment())
    return replace(result, modules=added)


def _environment() -> OutputModule:
    return OutputModule(environment_cid(), environment(), "environment", ())


def _cids(data: bytes) -> tuple[str, ...]:
    return tuple(sorted(filter(is_cid, Module.parse(data).import_namespaces)))


def _open(done: Split) -> Catalog:
    files = catalog_files(done) | {f"modules/{cid}.wasm": module.data for cid, module in done.modules.items()}
    return Catalog.open("the programs before", files.get)


def _set_aside(program: Input) -> Input:
    """The program with names in place of CIDs and URLs in its imports: to the split they are modules of the host."""
    namespaces = Module.parse(program.data).import_namespaces
    renamed = {name: _SET_ASIDE + name for name in namespaces if _is_linked(name)}
    return replace(program, data=link_imports(program.path, program.data, renamed).data) if renamed else program


def _is_linked(namespace: str) -> bool:
    return is_cid(namespace.partition("/")[0]) or "://" in namespace


def _linked(program: Input, app: OutputApp, modules: Modules) -> tuple[OutputApp, dict[str, str]]:
    """What is left of a program with the CIDs of its modules in its imports, and these by what they stand for."""
    namespaces = Module.parse(app.data).import_namespaces
    aside = {name: name.removeprefix(_SET_ASIDE) for name in namespaces if name.startswith(_SET_ASIDE)}
    named = modules.namespaces(app.data)
    providers = aside | named
    data = _without_names(link_imports(program.path, app.data, providers).data)
    linked = named | {name: name for name in aside.values()}
    return replace(app, name=program.name, blob=program.data, data=data, imports=_cids(data)), linked


def _without_names(data: bytes) -> bytes:
    """A module without the names of its functions: the split needed them, and a remainder is kept small."""
    module = Module.parse(data)
    return rewrite(Module(data, [section for section in module.sections if section.name != NAME_SECTION]), {})


def on_environment(program: Input) -> Split:
    """The program by itself on the memory of the environment, where the split found nothing to gain."""
    blob = fingerprint(Module.parse(program.data))
    drop_unreachable(blob)
    blob.same = find_identical(blob)
    linked = link([blob], [], [image(blob)], [])
    data = linked.remainders[0]
    # It has no module of its own, so the split would have left it as it is; its size is the same.
    alone = split([program]).apps[0]
    return Split([replace(alone, data=data, imports=(environment_cid(),))], {environment_cid(): _environment()})
