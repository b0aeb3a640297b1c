"""The modules of one program, linked: each function, table, memory, global and tag has one address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import NamedTuple

from bacpack.content.cid.cid import Cid, is_cid
from bacpack.order import DEEPEST, MOST_MODULES, ImportCircleError, instantiation_order
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.function_code import Codes
from bacpack.proof.code.module_view import ModuleView, Role, at
from bacpack.wasm import GlobalType, Import, Kind, Limits, TableType

#: An instance's number, and in the low bits an index among what it defines and imports.
Address = int

_INDEX_BITS = 24


class HostKey(NamedTuple):
    """Something of the host: the same for blob and remainder when all of it is equal."""

    module: str
    name: str
    kind: Kind
    type: bytes | TableType | Limits | GlobalType


class Instance:
    """A module with all its imports resolved."""

    def __init__(self, number: int, codes: Codes, spaces: dict[Kind, list[Address]]) -> None:
        self.number = number
        self.codes = codes
        self.view = codes.view
        #: For each kind the addresses by index.
        self.spaces = spaces

    def address(self, kind: Kind, index: int) -> Address:
        """The address of what the module calls `index`; raises `WasmError` when there is no such thing."""
        return at(self.spaces[kind], index, kind)


class LinkedProgram:
    """A blob, and the remainder and shared modules that are to replace it."""

    def __init__(self, linked: Mapping[str, str]) -> None:
        #: CIDs that stand in the remainder for namespaces of the blob.
        self._linked = linked
        self.instances: list[Instance | None] = [None]  # the host has number 0
        self._host: dict[HostKey, Address] = {}
        #: Everything that is imported from the host, in the order in which it was first met.
        self.host_keys: list[HostKey] = []

    def add(self, codes: Codes, providers: Mapping[str, Instance]) -> Instance:
        """Add an instance; imports from a namespace in `providers` come from there, all others from the host."""
        number, view = len(self.instances), codes.view
        spaces: dict[Kind, list[Address]] = {}
        module = view.module
        defined = {
            Kind.FUNCTION: len(module.functions),
            Kind.TABLE: len(module.tables),
            Kind.MEMORY: len(module.memories),
            Kind.GLOBAL: len(module.globals),
            Kind.TAG: len(module.tags),
        }
        for kind, count in defined.items():
            imported = [
                self._resolve(view, entry, index, providers.get(entry.module))
                for index, entry in enumerate(view.imports[kind])
            ]
            base = (number << _INDEX_BITS) + len(imported)
            spaces[kind] = imported + list(range(base, base + count))
        instance = Instance(number, codes, spaces)
        self.instances.append(instance)
        return instance

    def _resolve(self, view: ModuleView, entry: Import, index: int, provider: Instance | None) -> Address:
        if provider is None:
            namespace = self._linked.get(entry.module, entry.module) if view.role == Role.BLOB else entry.module
            key = HostKey(namespace, entry.name, entry.kind, view.extern_type(entry.kind, index))
            if key not in self._host:
                self._host[key] = len(self.host_keys)
                self.host_keys.append(key)
            return self._host[key]
        export = provider.view.exports.get(entry.name)
        if export is None or export.kind != entry.kind:
            what = f"{entry.kind.name.lower()} `{entry.name}`"
            raise not_equivalent(f"{view.title} imports a {what} that {provider.view.title} does not export")
        if not _fits(view, entry.kind, index, provider, export.index):
            raise not_equivalent(
                f"{view.title} imports `{entry.name}` with another type than {provider.view.title} exports it"
            )
        return provider.address(entry.kind, export.index)

    def not_imported_by(self, instance: Instance) -> list[HostKey]:
        """What is imported from the host, but not by this instance."""
        imported = set(chain.from_iterable(instance.spaces.values()))
        return [key for address, key in enumerate(self.host_keys) if address not in imported]

    def host(self, address: Address) -> HostKey | None:
        """What the host provides at an address, if it is the host's."""
        return None if address >> _INDEX_BITS else self.host_keys[address]

    def owner(self, address: Address) -> tuple[Instance, int]:
        """The instance that defines what is at an address, which is not the host's, and its index there."""
        instance = self.instances[address >> _INDEX_BITS]
        assert instance is not None
        return instance, address & (1 << _INDEX_BITS) - 1

    def function_name(self, function: Address) -> str:
        """A function as messages call it."""
        key = self.host(function)
        if key:
            return f"`{key.module}.{key.name}` of the host"
        instance, index = self.owner(function)
        return f"{instance.view.name(index)} of {instance.view.title}"

    def function_key(self, function: Address) -> bytes:
        """The type of a function."""
        key = self.host(function)
        if key:
            assert isinstance(key.type, bytes)
            return key.type
        instance, index = self.owner(function)
        return instance.view.function_key(index)


def in_order(
    root: ModuleView, provide: Callable[[str], Codes], linked: frozenset[str] = frozenset()
) -> list[tuple[str, Codes]]:
    """The shared modules that `root` needs, directly or through others, in the order of their instantiation.

    The modules that `root` is `linked` with count as the host. Raises when modules import each other in a circle, when
    one of them would call the host, since a host function must be called by the instance that exports the memory.
    """
    found: dict[str, Codes] = {}
    needs: dict[str, list[str]] = {}

    def needed(cid: str) -> list[str]:
        if not cid:
            view, cids = root, [name for name in root.namespaces if is_cid(name) and name not in linked]
        else:
            found[cid] = provide(cid)
            view, cids = found[cid].view, found[cid].view.namespaces
            if others := [name for name in cids if not is_cid(name) or name in linked]:
                raise not_equivalent(f"{view.title} imports `{others[0]}` from the host")
        needs[cid] = _needed(view, cids, linked)
        return needs[cid]

    try:
        order = instantiation_order("", needed)
    except ImportCircleError as error:
        raise not_equivalent(f"module {error.args[0]} imports itself, directly or through others") from error
    heights: dict[str, int] = {}
    for cid in order:
        heights[cid] = 1 + max((heights[other] for other in needs[cid]), default=0)
    if len(order) > MOST_MODULES or heights[""] > DEEPEST:
        raise not_equivalent(
            f"the split has {len(order)} modules, up to {heights['']} one upon the other: hosts refuse it"
        )
    return [(cid, found[cid]) for cid in order[:-1]]


def _needed(view: ModuleView, cids: list[str], linked: frozenset[str]) -> list[str]:
    """The CIDs, each of which must be written in the one way by which it is one instance here and for every host."""
    as_host = {_identity(cid) for cid in linked if is_cid(cid)}
    for cid in cids:
        if _identity(cid) != cid or cid in as_host:
            raise not_equivalent(f"{view.title} names module {_identity(cid)} in two ways, or as `{cid}`", cid=cid)
    return cids


def _identity(cid: str) -> str:
    """The CID of a module as hosts compare it: its version and how it is written do not count."""
    return str(Cid.parse(cid).to_v1())


def _fits(view: ModuleView, kind: Kind, index: int, provider: Instance, provided: int) -> bool:
    """Whether what `view` imports as `index` may be what the provider's module calls `provided`."""
    wanted, given = view.extern_type(kind, index), provider.view.extern_type(kind, provided)
    if isinstance(wanted, TableType) and isinstance(given, TableType):
        return wanted.element == given.element and _admits(wanted.limits, given.limits)
    if isinstance(wanted, Limits) and isinstance(given, Limits):
        return _admits(wanted, given)
    return wanted == given


def _admits(wanted: Limits, given: Limits) -> bool:
    same_kind = (wanted.shared, wanted.is_64) == (given.shared, given.is_64)
    bounded = wanted.maximum is None or (given.maximum is not None and given.maximum <= wanted.maximum)
    return same_kind and wanted.minimum <= given.minimum and bounded
