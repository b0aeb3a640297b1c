"""Custom sections of blobs: which of them a split drops, and which do not count in what a program weighs.

Splitting moves and renumbers code. What describes it by offsets or numbers, or names a file that does, becomes wrong.
"""

from __future__ import annotations

from bacpack.wasm import Module
from bacpack.wasm.custom_sections import NAME_SECTION
from bacpack.wasm.relocations import LINKING_SECTION, RELOCATION_PREFIX
from bacpack.wasm.types import Section

_DEBUG_PREFIX = ".debug_"
#: Whole names, and how others begin. By `build_id` debuggers find the file that describes the code of the blob.
_DROPPED = frozenset((NAME_SECTION, LINKING_SECTION, "sourceMappingURL", "external_debug_info", "build_id"))
_DROPPED_KINDS = (_DEBUG_PREFIX, RELOCATION_PREFIX, "metadata.code.", "llvm.func_attr.annotate.")


def is_dropped(section: Section) -> bool:
    """Whether a section of a blob describes code in a way that splitting makes wrong."""
    return section.name is not None and (section.name in _DROPPED or section.name.startswith(_DROPPED_KINDS))


def stripped_size(module: Module) -> int:
    """Size of a module without debug information, names, and what a linker left: what a stripped one weighs."""
    dropped = [section for section in module.sections if _is_for_tools(section) or section.name == NAME_SECTION]
    return len(module.data) - sum(section.end - section.start for section in dropped)


def without_debug(module: Module) -> bytes:
    """A program that shares nothing, as a split leaves it: without debug information and what a linker left.

    Its code stays as it is, so names and all else stay right. These are its own bytes if there is nothing to drop.
    """
    dropped = [section for section in module.sections if _is_for_tools(section)]
    if not dropped:
        return module.data
    start, kept = 0, []
    for section in dropped:
        kept.append(module.data[start : section.start])
        start = section.end
    return b"".join([*kept, module.data[start:]])


def _is_for_tools(section: Section) -> bool:
    name = section.name
    return name is not None and (name == LINKING_SECTION or name.startswith((_DEBUG_PREFIX, RELOCATION_PREFIX)))
