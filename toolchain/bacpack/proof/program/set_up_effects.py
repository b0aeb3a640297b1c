"""What a shared module may do when it is instantiated: nothing that anything else could see.

Hosts choose in which order they instantiate modules of which none imports from the other. So no result may depend on
it, and a module that does no more than what is allowed here leaves none that could.
"""

from __future__ import annotations

from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.module_view import Unit
from bacpack.wasm import Kind

#: Functions that hosts call by themselves when they have instantiated a module: those of WASI.
_CALLED_BY_HOSTS = ("_initialize", "_start")


def refuse_effects(unit: Unit) -> None:
    """Raise unless instantiating the shared module `unit` changes nothing but what it defines itself."""
    if unit.module.start is not None:
        raise not_equivalent(f"{unit.title} runs code of its own when it is instantiated", cid=unit.cid)
    for name in _CALLED_BY_HOSTS:
        if name in unit.exports:
            raise not_equivalent(f"{unit.title} exports `{name}`, which hosts call by themselves", cid=unit.cid)
    tables = [element.table for element in unit.module.elements if element.offset is not None]
    memories = [data.memory for data in unit.module.data_segments if data.offset is not None]
    for kind, written in ((Kind.TABLE, tables), (Kind.MEMORY, memories)):
        if any(index < len(unit.imports[kind]) for index in written):
            raise not_equivalent(
                f"{unit.title} writes to a {kind.name.lower()} of another module when it is instantiated: what is "
                "there then depends on the order in which a host instantiates modules",
                cid=unit.cid,
            )
