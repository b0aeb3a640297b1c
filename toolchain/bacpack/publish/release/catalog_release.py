"""Publishing the catalog of a release alone: the modules and what finds them, without the programs.

Both are directories of the release already, so this is one block more where the release is, and a team can pin what its
next programs are split with and none of its programs.
"""

from __future__ import annotations

from dataclasses import replace

from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.dag_pb import decode_node
from bacpack.content.unixfs.reader import resolve
from bacpack.content.unixfs.writer import Built
from bacpack.errors import InputError
from bacpack.publish.release.release import Release
from bacpack.publish.release.required_modules import MODULES

#: The folder of the catalog, in the folder that `split` writes and in a release.
CATALOG = "catalog"


def catalog_of(release: Release) -> Release:
    """Return the release of the modules and the catalog of `release`; raises `InputError` (`no-catalog`)."""
    if not any(path.startswith(f"{CATALOG}/") for path in release.files):
        raise InputError(
            "no-catalog",
            f"`{release.name}` has no catalog",
            hint="name one folder that `bacpack split` wrote, of programs that share modules",
            details={"ref": release.name},
        )
    folders = {name: _built(release, resolve(release.dag.get, release.root, [name])) for name in (CATALOG, MODULES)}
    root = release.dag.add_directory(folders).cid
    inside = {path: cid for path, cid in release.files.items() if path.partition("/")[0] in folders}
    return replace(
        release,
        name=f"{release.name}-catalog",
        root=root,
        apps={},
        files=inside,
        sizes=dict(release.dag.blocks(root)),
    )


def _built(release: Release, cid: Cid) -> Built:
    """Describe a directory that was built before, as a link to it does."""
    block = release.dag.get(cid)
    below = sum(link.tsize for link in decode_node(block, cid).links)
    return Built(cid, 0, len(block) + below)
