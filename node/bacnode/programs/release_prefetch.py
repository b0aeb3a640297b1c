"""Having all that a program needs on its way at once, where its release says what that is.

A module's imports are known when it is here, so modules that stand one upon the other come one after the other. The
manifest beside a program lists all of them. It is believed no further than to begin to fetch, within the limits.
"""

from __future__ import annotations

from bacnode.programs.open_program import Program
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.import_namespace import parse_namespace
from bacpack.content.cid.reference import CidRef
from bacpack.content.store.block_store import BlockStore
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError
from bacpack.manifest import MANIFEST_NAME, Manifest
from bacpack.wasm.interface import read_interface

_MAX_BYTES = 4 << 20


def announce_closure(program: Program, store: BlockStore) -> None:
    """Begin to fetch what the release that `program` stands in says it needs, if some of its imports are not here."""
    if program.folder is None or program.root.cid is None:
        return
    try:
        if all(map(store.has, _imports(program))):
            return
        read = program.folder.read(MANIFEST_NAME)
        if len(read.data) > _MAX_BYTES:
            return
        manifest = decode_json(read.data, Manifest)
        required = [CidRef(cid) for cid in _closure(manifest, program.root.cid) if not store.has(cid)]
    except (BacpackError, DecodeError):
        # Without one, imports are followed one by one.
        return
    program.sources.announce(required)


def _imports(program: Program) -> list[Cid]:
    refs = map(parse_namespace, read_interface(program.root.data).namespaces)
    return [ref.cid for ref in refs if isinstance(ref, CidRef)]


def _closure(manifest: Manifest, program: Cid) -> list[Cid]:
    names = {app.name for app in manifest.apps if Cid.parse(app.cid).to_v1() == program.to_v1()}
    return [Cid.parse(module.cid) for module in manifest.modules if names & set(module.users)]
