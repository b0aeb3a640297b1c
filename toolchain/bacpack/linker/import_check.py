"""Whether a module gets what it imports: one answer for `link`, `build`, `publish` and `run`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from bacpack.content.cid.block import GetBlock, MissingBlockError
from bacpack.content.cid.import_namespace import HOST_MODULES, WEBCIL, HostModule, UnlinkedNamespace, parse_namespace
from bacpack.content.cid.reference import CidRef
from bacpack.content.unixfs.reader import read_bytes, resolve
from bacpack.errors import BacpackError, InputError, restated
from bacpack.text import shell_word
from bacpack.wasm.interface import ImportedItem, Interface, mismatch, read_interface

#: Of all names that are known, how many a hint lists.
_LISTED = 8


#: Namespaces that hosts of another kind provide.
_BUILT_FOR = {
    r"wasi:.*": "WASI 0.2 or later",
    r"wasi": "WASI with threads",
    r"__wbindgen_.*": "JavaScript, by wasm-bindgen",
    r"gojs|go": "JavaScript, by Go",
}


class Providers:
    """What modules offer whose bytes are at hand; each is read once.

    `find` returns the bytes that a reference names, or None. `called` is what people call a module, by CID.
    """

    def __init__(self, find: Callable[[CidRef], bytes | None], called: Mapping[str, str] | None = None) -> None:
        self._find = find
        self._called = called or {}
        self._known: dict[CidRef, Interface | None] = {}

    def get(self, ref: CidRef) -> tuple[str, Interface] | None:
        """What people call a module, and what it offers; raises `WasmError` for what is none."""
        if ref not in self._known:
            data = self._find(ref)
            self._known[ref] = None if data is None else read_interface(data)
        interface = self._known[ref]
        return (self._called.get(str(ref), str(ref)), interface) if interface else None


def read_at_hand(get: GetBlock, ref: CidRef) -> bytes | None:
    """The bytes that a reference names, or None where one of their blocks is missing."""
    try:
        return read_bytes(get, resolve(get, ref.cid.to_v1(), ref.path))
    except MissingBlockError:
        return None


def check_imports(user: str, interface: Interface, providers: Providers, known: Iterable[str] = ()) -> None:
    """Raise `InputError` unless a module, called `user` in messages, gets all that it imports.

    Of providers that are not at hand nothing is said. `known` are names that a namespace could have been meant for. The
    codes are `unlinked-import`, `missing-export` and `type-mismatch`, and those of a namespace that is a broken
    reference, or names no module.
    """
    for namespace, wanted in by_namespace(interface).items():
        try:
            parsed = parse_namespace(namespace)
            if isinstance(parsed, UnlinkedNamespace):
                raise unlinked(wanted[0], known)
            if isinstance(parsed, HostModule):
                check_host(parsed, wanted)
            elif isinstance(parsed, CidRef) and (provider := providers.get(parsed)):
                check_provider(wanted, *provider)
        except InputError as error:
            raise restated(error, f"{error.message} (needed by {user})", {"needed_by": [user]}) from error


def by_namespace(interface: Interface) -> dict[str, list[ImportedItem]]:
    """What is imported from each namespace, in the order of the first import from each."""
    wanted: dict[str, list[ImportedItem]] = {}
    for entry in interface.imports:
        wanted.setdefault(entry.namespace, []).append(entry)
    return wanted


def check_host(host: HostModule, wanted: Sequence[ImportedItem]) -> None:
    """Raise `InputError` (`missing-export`) unless the host has the functions that are imported from it."""
    for entry in wanted:
        if entry.name not in host.functions:
            raise InputError(
                "missing-export",
                f"`{entry.name}` is wanted from `{host.name}`, which has no such function",
                hint=_hint(
                    entry.name,
                    host.functions,
                    "build the program for wasm32-wasip1: WASI preview 1 and 0 are provided, and nothing else",
                ),
                details={"namespace": host.name, "name": entry.name},
            )


def check_provider(wanted: Sequence[ImportedItem], name: str, offered: Interface) -> None:
    """Raise `InputError` (`missing-export`, `type-mismatch`) unless the provider `name` offers what is wanted."""
    for entry in wanted:
        item = offered.exports.get(entry.name)
        details = {"namespace": entry.namespace, "name": entry.name}
        if item is None:
            raise InputError(
                "missing-export",
                f"`{entry.name}` is wanted from `{name}`, which does not export it",
                hint=_hint(entry.name, offered.exports, f"it exports {_list(offered.exports)}"),
                details=details,
            )
        difference = mismatch(entry.item, item)
        if difference:
            raise InputError(
                "type-mismatch",
                f"`{entry.name}` of `{name}` has another type than its user expects: {difference}",
                hint="link the module that this one was built against",
                details=details,
            )


def unlinked(entry: ImportedItem, known: Iterable[str] = ()) -> BacpackError:
    """The error for an import from a namespace that names nothing which could be linked."""
    names = [*known, *HOST_MODULES]
    for pattern, built_for in _BUILT_FOR.items():
        if re.fullmatch(pattern, entry.namespace):
            return InputError(
                "unlinked-import",
                f"nothing provides `{entry.name}` of `{entry.namespace}`: the program is built for {built_for}",
                hint="build it for wasm32-wasip1: WASI preview 1 and 0 are provided, and nothing else",
                details={"namespace": entry.namespace, "name": entry.name, "known": names},
            )
    if entry.namespace == WEBCIL:
        return InputError(
            "unlinked-import",
            f"nothing provides `{entry.name}` of `{WEBCIL}`: this is a .NET assembly in a wrapper, so data, no program",
            hint="leave it to the program that loads it, `dotnet.native.wasm`",
            details={"namespace": entry.namespace, "name": entry.name, "known": names},
        )
    mapping = f"{shell_word(entry.namespace or 'NAME')}=REF"
    return InputError(
        "unlinked-import",
        f"nothing provides `{entry.name}` of `{entry.namespace}`: the namespace is no CID, URL or module of the host",
        hint=_hint(
            entry.namespace,
            names,
            f"name its provider with `bacpack link BLOB --map {mapping}`, or below [modules] in bacpack.toml",
        ),
        details={"namespace": entry.namespace, "name": entry.name, "known": names},
    )


def _hint(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about a name that is not there: take the nearest that is, or else."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean `{near[0]}`? {otherwise[0].upper()}{otherwise[1:]}" if near else otherwise


def _list(names: Iterable[str]) -> str:
    shown = [f"`{name}`" for name in sorted(names)]
    more = [f"{len(shown) - _LISTED} more"] if len(shown) > _LISTED else []
    return ", ".join([*shown[:_LISTED], *more]) or "nothing"
