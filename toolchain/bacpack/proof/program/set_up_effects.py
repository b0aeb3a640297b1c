"""What a shared module may do when it is instantiated: nothing that anything else could see.

Hosts choose in which order they instantiate modules of which none imports from the other. So no result may depend on
it, and a module that does no more than what is allowed here leaves none that could.
"""

from __future__ import annotations

from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.module_view import ModuleView
from bacpack.wasm import Kind

#: Functions that hosts call by themselves when they have instantiated a module: those of WASI.
_CALLED_BY_HOSTS = ("_initialize", "_start")


def refuse_effects(view: ModuleView) -> None:
    """Raise unless instantiating the shared module `view` changes nothing but what it defines itself."""
    if view.module.start is not None:
        raise not_equivalent(f"{view.title} runs code of its own when it is instantiated", cid=view.cid)
    for name in _CALLED_BY_HOSTS:
        if name in view.exports:
            raise not_equivalent(f"{view.title} exports `{name}`, which hosts call by themselves", cid=view.cid)
    tables = [element.table for element in view.module.elements if element.offset is not None]
    memories = [data.memory for data in view.module.data_segments if data.offset is not None]
    for kind, written in ((Kind.TABLE, tables), (Kind.MEMORY, memories)):
        if any(index < len(view.imports[kind]) for index in written):
            raise not_equivalent(
                f"{view.title} writes to a {kind.name.lower()} of another module when it is instantiated: what is "
                "there then depends on the order in which a host instantiates modules",
                cid=view.cid,
            )
