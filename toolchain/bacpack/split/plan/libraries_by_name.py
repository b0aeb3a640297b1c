"""Third stage for one blob alone: with nothing to compare it to, its name section says what others may share.

Functions are grouped by the library they come from: the libc, the standard library, each large crate or namespace. What
belongs to the program's own crate, or to none, stays in the remainder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping
from functools import cache
from pathlib import Path

from bacpack.split.model.costs import LEAST_OWN_BYTES
from bacpack.split.model.grouping import Group
from bacpack.split.plan.matching import SharedFunction
from bacpack.split.shapes.fingerprint import Blob
from bacpack.wasm import Module

LIBC, RUST_STD, CXX_STD = "libc", "std", "c++"
_RUST_STD_CRATES = frozenset(
    ("core", "alloc", "std", "compiler_builtins", "panic_abort", "panic_unwind", "hashbrown", "dlmalloc")
)
_CXX_STD_NAMESPACES = frozenset(("std", "__cxxabiv1", "__gnu_cxx"))
#: Lower libraries first: a module may call those before it directly.
_LAYERS = (LIBC, CXX_STD, RUST_STD)

# Rust v0: the first crate of the path, such as `Cs3gffGGmQcpt_3std`. https://doc.rust-lang.org/rustc/symbol-mangling/v0.html
_RUST_V0 = re.compile(r"^_R.*?C(?:s[0-9A-Za-z]*_)?(\d+)_?(\w+)")
# Itanium C++ names, and Rust's older ones, which end in a hash.
_ITANIUM = re.compile(r"^_ZN?[KVR]*(?:(St)|(\d+)(\w+))")
_RUST_LEGACY_HASH = re.compile(r"17h[0-9a-f]{16}E")
# `_$LT$alloc..string..String$u20$as…`: an implementation, named by its type.
_RUST_LEGACY_TYPE = re.compile(r"^_?\$LT\$(?:\w*\$\w*\$)*(\w+?)\.\.")
# Names that the linker wrote out: `void std::__2::__sort<…>(…)`, `core::fmt::write::h0123…`.
_WRITTEN_OUT = re.compile(r"(?:^|[\s<])([A-Za-z_]\w*)::")
#: What a C compiler calls a program's `main`. The libc has one too, for programs without.
_C_MAIN = "__main_argc_argv"
_MAIN = re.compile(r"(?:^_R.*4main(?:B\w*_)?$)|(?:^_ZN\d+\w+4main17h)|(?:^\w+::main(?:::h[0-9a-f]{16})?$)")


def group_by_name(
    blob: Blob, names: Mapping[int, str], placed: Container[int] = ()
) -> list[tuple[str, Group[SharedFunction]]]:
    """Group the functions of `blob` by library, lowest first; `names` are those of functions, by index.

    Functions that are `placed` already, by index, are left out.
    """
    libraries = _libraries(names)
    groups: dict[str, Group[SharedFunction]] = {}
    for position, function in enumerate(blob.functions):
        index = blob.imported_functions + position
        origin = None if index in placed else libraries.get(index)
        if function.shape is not None and origin is not None:
            group = groups.setdefault(origin, Group(users=1))
            group.items.append(SharedFunction({0: position}))
            group.size += function.size
    large = [(origin, group) for origin, group in groups.items() if group.size >= LEAST_OWN_BYTES]
    return sorted(large, key=lambda entry: (_layer(entry[0]), entry[0]))


def may_be_grouped(module: Module, names: Mapping[int, str]) -> bool:
    """Whether names tell of a library that is large enough to be a module, if all of its functions can be moved."""
    sizes: Counter[str] = Counter()
    first = len(module.function_types) - len(module.functions)
    for index, origin in _libraries(names).items():
        if first <= index < first + len(module.bodies):
            body = module.bodies[index - first]
            sizes[origin] += body.end - body.start
    return any(size >= LEAST_OWN_BYTES for size in sizes.values())


def _libraries(names: Mapping[int, str]) -> dict[int, str]:
    """The library of each function that is in one, by index. The crate of a program's `main` is none."""
    own = {library(name) for name in names.values() if _MAIN.match(name)} - {*_LAYERS}
    libraries = ((index, library(name)) for index, name in names.items())
    return {index: origin for index, origin in libraries if origin is not None and origin not in own}


def _layer(origin: str) -> int:
    return _LAYERS.index(origin) if origin in _LAYERS else len(_LAYERS)


@cache
def library(name: str) -> str | None:
    """The library that a function of this name belongs to, or None."""
    if found := _RUST_V0.match(name):
        return _rust_library(found[2][: int(found[1])])
    if found := _ITANIUM.match(name):
        origin = "std" if found[1] else found[3][: int(found[2])]
        if not _RUST_LEGACY_HASH.search(name):
            return CXX_STD if origin in _CXX_STD_NAMESPACES else origin
        if type_ := _RUST_LEGACY_TYPE.match(origin):
            origin = type_[1]
        return _rust_library(origin)
    if found := _WRITTEN_OUT.search(name):
        if found[1] in _RUST_STD_CRATES and not name.startswith("std::__"):
            return RUST_STD
        return CXX_STD if found[1] in _CXX_STD_NAMESPACES else found[1]
    return LIBC if (name in _libc_names() and name != _C_MAIN) or name.startswith("__wasi") else None


def _rust_library(crate: str) -> str:
    return RUST_STD if crate in _RUST_STD_CRATES else crate


@cache
def _libc_names() -> frozenset[str]:
    """Names of functions in wasi-libc, made from the symbol table of its archive."""
    return frozenset(Path(__file__).with_name("libc_names.txt").read_text().split())
