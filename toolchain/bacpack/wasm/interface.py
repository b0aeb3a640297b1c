"""What a module asks for and what it offers, in types that can be compared between modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from bacpack.wasm.module import Module
from bacpack.wasm.types import PLAIN_VALUE_TYPES, Export, FuncType, GlobalType, Import, Kind, Limits, TableType

Type: TypeAlias = FuncType | TableType | Limits | GlobalType

_VALUE_NAMES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}


@dataclass(frozen=True, slots=True)
class Item:
    """One import or export: its kind, and its type unless that can only be told inside its module."""

    kind: Kind
    #: A tag has the type of a function. None where types of the garbage collection proposal are involved: two modules
    #: number them apart, so the engine has to compare them.
    type: Type | None

    @property
    def type_text(self) -> str:
        """The type, for people."""
        return _type_text(self.type)

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.type_text}"


@dataclass(frozen=True, slots=True)
class ImportedItem:
    """An import."""

    namespace: str
    name: str
    item: Item


@dataclass(frozen=True, slots=True)
class Interface:
    """The imports and exports of a module."""

    imports: tuple[ImportedItem, ...]
    exports: dict[str, Item]

    @property
    def namespaces(self) -> list[str]:
        """Each namespace that is imported from, in the order of its first import."""
        return list(dict.fromkeys(entry.namespace for entry in self.imports))

    @property
    def initializes(self) -> bool:
        """Whether it is a WASI reactor: its `_initialize` is called before anything else in it."""
        item = self.exports.get("_initialize")
        return item is not None and item.kind == Kind.FUNCTION and item.type in (None, FuncType((), ()))


def read_interface(data: bytes) -> Interface:
    """Read the imports and exports of a module; raises `WasmError`."""
    module = Module.parse(data)
    imports = tuple(ImportedItem(entry.module, entry.name, _imported(module, entry)) for entry in module.imports)
    return Interface(imports, {entry.name: _exported(module, entry) for entry in module.exports})


def mismatch(wanted: Item, offered: Item) -> str | None:
    """Say how `offered` fails to be what an import wants, or return None when it fits.

    Sizes that a memory or table must have at least are left to the engine, unless they cannot be reached: it compares
    what they have grown to.
    """
    fits = wanted.kind == offered.kind
    if fits and wanted.type is not None and offered.type is not None:
        fits = _fits(wanted.type, offered.type)
    return None if fits else f"a {wanted} is wanted, a {offered} is there"


def _fits(wanted: Type, offered: Type) -> bool:
    if isinstance(wanted, Limits) and isinstance(offered, Limits):
        return _limits_fit(wanted, offered)
    if isinstance(wanted, TableType) and isinstance(offered, TableType):
        return wanted.element == offered.element and _limits_fit(wanted.limits, offered.limits)
    return wanted == offered


def _limits_fit(wanted: Limits, offered: Limits) -> bool:
    bounded = wanted.maximum is None or (offered.maximum is not None and offered.maximum <= wanted.maximum)
    reaches = offered.maximum is None or wanted.minimum <= offered.maximum
    return bounded and reaches and (wanted.shared, wanted.is_64) == (offered.shared, offered.is_64)


def _imported(module: Module, entry: Import) -> Item:
    if isinstance(entry.type, int):
        return Item(entry.kind, _function_type(module, entry.type))
    return Item(entry.kind, _comparable(entry.type))


def _exported(module: Module, entry: Export) -> Item:
    imported = module.imported(entry.kind)
    if entry.index < len(imported):
        return _imported(module, imported[entry.index])
    index = entry.index - len(imported)
    defined: list[Type | None]
    if entry.kind == Kind.FUNCTION:
        defined = [_function_type(module, module.functions[index])] if index < len(module.functions) else []
    elif entry.kind == Kind.TABLE:
        defined = [_comparable(table.type) for table in module.tables[index : index + 1]]
    elif entry.kind == Kind.MEMORY:
        defined = [_comparable(limits) for limits in module.memories[index : index + 1]]
    elif entry.kind == Kind.GLOBAL:
        defined = [_comparable(value.type) for value in module.globals[index : index + 1]]
    else:
        defined = [_function_type(module, type_index) for type_index in module.tags[index : index + 1]]
    # An index beyond the end makes the module invalid, which compiling it will say.
    return Item(entry.kind, defined[0] if defined else None)


def _function_type(module: Module, index: int) -> FuncType | None:
    defined = module.types[index] if index < len(module.types) else None
    if defined is None or defined.function is None or not defined.alone or not defined.function.is_plain:
        return None
    return defined.function


def _comparable(type_: TableType | Limits | GlobalType) -> Type | None:
    value = type_.element if isinstance(type_, TableType) else type_.value if isinstance(type_, GlobalType) else None
    return type_ if value is None or value in PLAIN_VALUE_TYPES else None


def _type_text(type_: Type | None) -> str:
    if type_ is None:
        return "of a type of its own module"
    if isinstance(type_, FuncType):
        return f"({_values(type_.params)}) -> ({_values(type_.results)})"
    if isinstance(type_, GlobalType):
        return f"{'mutable ' if type_.mutable else ''}{_values((type_.value,))}"
    limits = type_.limits if isinstance(type_, TableType) else type_
    notes = [f"of {_values((type_.element,))}"] if isinstance(type_, TableType) else []
    notes += [f"from {limits.minimum}" + (f" to {limits.maximum}" if limits.maximum is not None else "")]
    notes += [name for name, is_set in (("shared", limits.shared), ("64-bit", limits.is_64)) if is_set]
    return " ".join(notes)


def _values(types: tuple[bytes, ...]) -> str:
    return ", ".join(_VALUE_NAMES.get(value[0], "reference") for value in types)
