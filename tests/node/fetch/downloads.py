"""What tests of downloads share: a release in memory, and a download whose outcome is checked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from bacnode.fetch.download import Download, Downloaded, DownloadLimits
from bacnode.fetch.session import Web
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import check_blocks
from bacpack.content.store.file_dag import FileDag
from bacpack.errors import BacpackError
from bacpack.http_client import RequestPolicy
from node.gateway_stand import Gateway, Server

#: Enough for a machine that is busy, and short where a test waits for it.
QUICK = RequestPolicy(idle=5, block=5, pause=0.01, search=1)


def made_dag(leaves: int = 6, modules: int = 6, size: int = 900) -> tuple[Cid, dict[Cid, bytes]]:
    """A directory of files, with a directory of more of them: as a release is."""
    source = random.Random(5)
    dag = FileDag()
    inner = dag.add_directory({f"{index}.wasm": dag.add_bytes(source.randbytes(size)) for index in range(modules)})
    apps = {f"app-{index}.wasm": dag.add_bytes(source.randbytes(size)) for index in range(leaves)}
    root = dag.add_directory({**apps, "modules": inner}).cid
    return root, dict(read_dag(dag.get, [root]))


ROOT, BLOCKS = made_dag()


def gateway(serve: ExitStack, *, car: bool = True) -> Gateway:
    return serve.enter_context(Gateway(BLOCKS, car=car))


def download(
    store: BlockStore,
    servers: Sequence[Server],
    root: Cid = ROOT,
    *,
    policy: RequestPolicy = QUICK,
    limits: DownloadLimits | None = None,
    kubo: Server | None = None,
) -> Downloaded:
    web = Web([server.url for server in servers], kubo=[kubo.url] if kubo else [], policy=policy)
    with store.batch() as batch:
        one = Download(store, batch, web.remotes, limits)
        try:
            one.fetch([root])
        finally:
            one.close()
    return one.done


def refused(store: BlockStore, servers: Sequence[Server], root: Cid = ROOT, **options: object) -> BacpackError:
    with pytest.raises(BacpackError) as raised:
        download(store, servers, root, **options)  # type: ignore[arg-type]  # any of its options
    assert raised.value.hint
    check_sound(store)
    return raised.value


def check_sound(store: BlockStore) -> None:
    for cid in store:
        assert cid.matches(store.get(cid))


def check_complete(store: BlockStore, root: Cid = ROOT) -> None:
    check_sound(store)
    assert check_blocks(store, root).missing == []
