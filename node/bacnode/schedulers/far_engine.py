"""Jobs on a Dask cluster that runs already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from distributed import Client
from distributed.utils import get_ip

from bacnode.schedulers.block_server import BlockServer
from bacnode.schedulers.closure import Closure
from bacnode.schedulers.dask_engine import DaskEngine
from bacpack.content.cid import Cid
from bacpack.content.store import BlockStore
from bacpack.content.walk import read_dag
from bacpack.errors import UnreachableError


@contextmanager
def far_engine(scheduler: str, closures: Sequence[Closure], folder: Path) -> Iterator[DaskEngine]:
    """Yield an engine for the cluster whose scheduler is at a URL; raises `UnreachableError` (`no-scheduler`).

    While it is used, workers may ask this machine for the modules of these programs.
    """
    try:
        client = Client(scheduler, timeout="20s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise UnreachableError(
            "no-scheduler",
            f"no scheduler of Dask answers at `{scheduler}`: {error}",
            hint="start one with `dask scheduler`, and check the address",
            details={"scheduler": scheduler},
        ) from error
    store = BlockStore(folder)
    roots = [Cid.parse(cid) for closure in closures for cid in closure.sizes if store.has(Cid.parse(cid))]
    offered = frozenset(cid for cid, _ in read_dag(store.get, roots, lambda _missing: None))
    with client, BlockServer(store, _own_address(scheduler), only=offered) as server:
        yield DaskEngine(client, peers=(server.url,))


def _own_address(scheduler: str) -> str:
    """The address of this machine on the way to the scheduler."""
    host = scheduler.partition("://")[2].rpartition(":")[0].strip("[]") or "127.0.0.1"
    try:
        return str(get_ip(host, 80)) if host not in ("127.0.0.1", "localhost") else "127.0.0.1"
    except OSError:
        return str(get_ip())
