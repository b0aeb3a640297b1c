"""Rewriting the import namespaces of a module, so that each names its provider by CID."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bacpack.content.cid.reference import PathRef, Ref
from bacpack.content.store.file_dag import FileDag
from bacpack.errors import InputError
from bacpack.files import read_file
from bacpack.verdict import told_apart
from bacpack.wasm import Module, SectionId, WasmError
from bacpack.wasm.writer import import_, rewrite, vector


@dataclass(frozen=True, slots=True)
class Linked:
    """A module whose imports were rewritten."""

    data: bytes
    #: Every namespace that it imports from now, in the order of the first import from each.
    namespaces: list[str]


def link_imports(what: str, data: bytes, providers: Mapping[str, str]) -> Linked:
    """Replace import namespaces by what `providers` maps them to; all other sections keep their bytes.

    `what` is how messages call the module. Raises `InputError` when `data` is none, and for a name that it does not
    import (`no-such-namespace`).
    """
    with _naming(what, data):
        module = Module.parse(data)
        present = module.import_namespaces
    for name in providers:
        if name not in present:
            raise InputError(
                "no-such-namespace",
                f"`{what}` imports nothing from `{name}`",
                hint=f"it imports from {', '.join(f'`{other}`' for other in present) or 'nothing'}",
                details={"name": name, "namespaces": present},
            )
    imports = [replace(entry, module=providers.get(entry.module, entry.module)) for entry in module.imports]
    section = vector(import_(entry) for entry in imports)
    return Linked(
        rewrite(module, {SectionId.IMPORT: section}) if providers else data,
        list(dict.fromkeys(entry.module for entry in imports)),
    )


def namespace_of(ref: Ref) -> str:
    """Return the namespace that names the module at `ref`: for a file, the CID of its bytes.

    Raises `InputError` when the file cannot be read or is no module.
    """
    if not isinstance(ref, PathRef):
        return str(ref)
    data = read_file(ref.path)
    with _naming(str(ref), data):
        Module.parse(data)
    return str(FileDag().add_file(ref.path).cid)


@contextmanager
def _naming(what: str, data: bytes) -> Iterator[None]:
    """Add to an error about a module's bytes which module it is."""
    try:
        yield
    except WasmError as error:
        details = {"path": what, **error.details}
        named = InputError(error.code, f"`{what}`: {error.message}", hint=error.hint, details=details)
        raise told_apart(named, data) from error
