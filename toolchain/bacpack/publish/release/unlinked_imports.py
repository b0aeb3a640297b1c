"""Whether the programs of a release get what they import: asked before anybody is to run them by CID."""

from __future__ import annotations

import re

from bacpack.component.binary import is_component
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.import_namespace import WEBCIL
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.reader import read_bytes
from bacpack.linker.import_check import Providers, check_imports, read_at_hand
from bacpack.publish.release.release import Release
from bacpack.publish.release.required_modules import MODULES
from bacpack.wasm import WasmError
from bacpack.wasm.interface import read_interface


def refuse_unlinked(release: Release, store: BlockStore) -> None:
    """Raise `InputError` (`unlinked-import`, `missing-export`, `type-mismatch`) for what could not be run.

    Looked at are programs and modules of the core format; a file that is neither, or a wrapped .NET assembly, is
    published as it is. Providers are read from the release, or from the store; of what is in neither, or at a URL,
    nothing is said.
    """

    def get(cid: Cid) -> bytes:
        try:
            return release.dag.get(cid)
        except MissingBlockError:
            return store.get(cid)

    providers = Providers(lambda ref: read_at_hand(get, ref))
    users = {f"`{name}`": cid for name, cid in release.apps.items()}
    modules = re.compile(rf"{MODULES}/[^/]+\.wasm")
    users |= {f"`{path}`": cid for path, cid in release.files.items() if modules.fullmatch(path)}
    for user, cid in users.items():
        data = read_bytes(get, cid)
        try:
            interface = None if is_component(data) else read_interface(data)
        except WasmError:
            continue
        if interface and not any(entry.namespace == WEBCIL for entry in interface.imports):
            check_imports(user, interface, providers)
