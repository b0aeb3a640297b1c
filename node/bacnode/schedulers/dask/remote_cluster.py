"""Jobs on a Dask cluster that runs already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from distributed import Client
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import connect
from distributed.security import Security
from distributed.utils import get_ip

from bacnode.programs.closure import Closure
from bacnode.schedulers.dask.address import PORT, check_scheduler, no_scheduler
from bacnode.schedulers.dask.block_server import BlockServer
from bacnode.schedulers.dask.client import DaskEngine
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.content.store.block_store import BlockStore

#: How long a scheduler is tried to be reached, and how long until it has answered, in seconds.
_CONNECTING_SECONDS = 20
_GREETING_SECONDS = 25


@contextmanager
def cluster_engine(scheduler: str, closures: Sequence[Closure], folder: Path) -> Iterator[DaskEngine]:
    """Yield an engine for the cluster whose scheduler is at a URL; raises `UnreachableError` (`no-scheduler`).

    While it is used, workers may ask this machine for the modules of these programs.
    """
    check_scheduler(scheduler)
    try:
        asyncio.run(asyncio.wait_for(_greet(scheduler), _GREETING_SECONDS))
        client = Client(scheduler, timeout=_CONNECTING_SECONDS, set_as_default=False)
    except TimeoutError as error:
        raise no_scheduler(scheduler, "what listens there does not speak as one") from error
    except Exception as error:  # of the system, of Dask, or of what carries its messages
        raise no_scheduler(scheduler, str(error) or type(error).__name__) from error
    store = BlockStore(folder)
    roots = [Cid.parse(cid) for closure in closures for cid in closure.sizes if store.has(Cid.parse(cid))]
    offered = frozenset(cid for cid, _ in read_dag(store.get, roots, lambda _missing: None))
    with client, closing(BlockServer(store, _own_address(scheduler), only=offered)) as server:
        yield DaskEngine(client, peers=(server.url,))


async def _greet(scheduler: str) -> None:
    """Exchange greetings with a scheduler: Dask's client waits for them without a limit, and cannot be stopped."""
    comm = await connect(scheduler, _CONNECTING_SECONDS, **Security().get_connection_args("client"))
    await comm.close()


def _own_address(scheduler: str) -> str:
    """The address of this machine on the way to the scheduler."""
    host = parse_host_port(parse_address(scheduler)[1], PORT)[0] or "127.0.0.1"
    if host in ("localhost", "::1"):
        return "127.0.0.1"
    try:
        return str(get_ip(host, 80))
    except OSError:
        return str(get_ip())
