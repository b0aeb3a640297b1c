"""`bacpack node`: run a node that holds modules, serves them and takes them in."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bacpack.cli.options.values import size
from bacpack.cli.terminal.output import Output, common_options
from bacpack.cli.terminal.streams import say
from bacpack.errors import InputError
from bacpack.installed import has_extra, line_for_extra

if TYPE_CHECKING:
    from bacnode.app.devstack import Started
    from bacnode.schedulers.dask.worker_supervisor import WorkerSupervisor

EPILOG = """\b
Examples:
  bacpack node serve
  bacpack node serve --listen 0.0.0.0:8301 --peer http://10.0.0.7:8301
  bacpack node serve --listen 127.0.0.1:0 --store /srv/bacpack
  bacpack node serve --workers 1 --jobs-per-worker 4 --jobs-memory 512MiB
  bacpack node serve --proprietary solver.wasm
  bacpack node serve --scheduler tcp://10.0.0.1:8786
  bacpack node serve --log-format json --log-requests

\b
Once it accepts requests it prints one line, {"schema": 1, "url": …, "peer_id": …}.
What may be read is open to whoever reaches the address. To upload or pin, and for jobs from another
machine, a client shows the token in the file `node-token` in the store's folder, made on the first start.
The page at the URL asks for it once.

\b
Exit status:
  0  ended by SIGTERM or SIGINT
  2  wrong usage, or the address or the store cannot be used
"""


DEVSTACK_EPILOG = """\b
Examples:
  bacpack node devstack
  bacpack node devstack -n 5 --folder stack

\b
For each node one line is printed, {"schema": 1, "url": …, "peer_id": …, "token_file": …}, once all accept requests.
Ctrl-C ends all of them; they also end when this command is killed.

\b
Exit status:
  0  ended by SIGTERM, SIGINT or SIGHUP
  1  a node did not start
  2  wrong usage, or the folder cannot be used
"""


def _urls(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not value.startswith(("http://", "https://")):
            raise click.BadParameter(f"`{value}` is no http or https URL")
    return values


@click.group()
def command() -> None:
    """Run a node: it holds modules, serves them to others, and takes them in."""


@command.command("serve", epilog=EPILOG)
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8301", show_default=True,
              help="Address to listen on; port 0 takes any that is free.")  # fmt: skip
@click.option("--peer", "peers", metavar="URL", multiple=True, callback=_urls,
              help="Another node: asked for what jobs need, and told of to others. May be repeated.")  # fmt: skip
@click.option("--mdns", is_flag=True, help="Find nodes on the local network, and be found by them.")
@click.option("--router", "routers", metavar="URL", multiple=True, callback=_urls,
              help="Ask here who has what no peer has (Delegated Routing); may be given more than once.")  # fmt: skip
@click.option("--allow-private", is_flag=True, help="Let routers name peers at addresses that are not public.")
@click.option("--store", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the store and the node's state.  [default: the store of the other commands]")  # fmt: skip
@click.option("--workers", metavar="N", type=click.IntRange(1, 256),
              help="Processes that run jobs.  [default: one for each core]")  # fmt: skip
@click.option("--jobs-per-worker", metavar="N", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Jobs that share a process, to save memory.")  # fmt: skip
@click.option("--jobs-memory", metavar="BYTES", callback=size,
              help="Memory of all jobs together, such as 2GiB.  [default: half of the machine's]")  # fmt: skip
@click.option("--all-features", is_flag=True,
              help="Also run programs that use garbage collection, typed references or threads.")  # fmt: skip
@click.option("--proprietary", metavar="CID|FILE", multiple=True,
              help="A module that jobs here may use and nobody may have; may be given more than once.")  # fmt: skip
@click.option("--scheduler", metavar="URL",
              help="Be a worker of the Dask cluster whose scheduler is here, as tcp://HOST:8786.")  # fmt: skip
@click.option("--host-name", "host_names", metavar="NAME", multiple=True,
              help="A name, besides addresses and this machine's own, by which the node may be called.")  # fmt: skip
@click.option("--rate-limit", metavar="N", type=click.FloatRange(min=1), default=1_000, show_default=True,
              help="Requests a second that one client may make, but for content.")  # fmt: skip
@click.option("--content-rate-limit", metavar="N", type=click.FloatRange(min=1), default=20_000, show_default=True,
              help="Requests a second for content that one client may make.")  # fmt: skip
@click.option("--log-format", type=click.Choice(("plain", "json")), default="plain", show_default=True,
              help="How the log on standard error is written; json is one object a line.")  # fmt: skip
@click.option("--log-requests", is_flag=True, help="Log every request, not only what goes wrong.")
@click.option("--listen-descriptor", type=click.IntRange(3), hidden=True)
@click.option("--while-open", type=click.IntRange(3), hidden=True)
def serve(
    *,
    listen: str,
    peers: tuple[str, ...],
    mdns: bool,
    routers: tuple[str, ...],
    allow_private: bool,
    store: Path | None,
    workers: int | None,
    jobs_per_worker: int,
    jobs_memory: int | None,
    all_features: bool,
    proprietary: tuple[str, ...],
    scheduler: str | None,
    host_names: tuple[str, ...],
    rate_limit: float,
    content_rate_limit: float,
    log_format: Literal["plain", "json"],
    log_requests: bool,
    listen_descriptor: int | None,
    while_open: int | None,
) -> None:
    """Serve the store and run jobs until told to end.

    Speaks IPFS's Trustless Gateway and Delegated Routing protocols, takes in what `bacpack publish --to node:URL`
    sends, and runs programs for those who may.
    """
    _check_installed(mdns=mdns)
    from bacnode.app.serve import ProcessOptions, parse_address
    from bacnode.app.serve import serve as run
    from bacnode.http_server.middleware import MiddlewareOptions
    from bacnode.jobs.service import JobOptions
    from bacnode.peers.peer_book import PeerOptions
    from bacpack.folders import cache_folder, data_folder

    address = parse_address(listen)
    folder = data_folder() if store is None else store
    if not address.is_loopback:
        say(f"note: whoever reaches {listen} can read what this node holds", err=True)
    if scheduler is not None:
        _check_scheduler(scheduler)

    stack = ExitStack()

    def on_ready(url: str, peer_id: str) -> None:
        say(json.dumps({"schema": 1, "url": url, "peer_id": peer_id}))
        if scheduler is not None:
            supervisor = _worker_supervisor(scheduler, folder, url, peer_id, peers, workers, all_features=all_features)
            stack.enter_context(supervisor)

    cache = cache_folder() if store is None else None
    options = JobOptions(workers, jobs_per_worker, jobs_memory, cache, proprietary, all_features)
    middleware = MiddlewareOptions(content_rate_limit, rate_limit, host_names, log_requests)
    wanted = PeerOptions(peers, routers, mdns, allow_private)
    process = ProcessOptions(log_format, listen_descriptor, while_open)
    with stack:
        run(address, folder, wanted, on_ready, options, middleware, process)


def _worker_supervisor(
    scheduler: str,
    folder: Path,
    url: str,
    peer_id: str,
    peers: tuple[str, ...],
    workers: int | None,
    *,
    all_features: bool,
) -> WorkerSupervisor:
    """Return the worker of Dask that uses the node's store, and has the node give its modules to others."""
    from bacnode.schedulers.dask.worker_supervisor import WorkerSupervisor

    # What listens at every address has none that others could be told.
    is_known = not any(name in url for name in ("//0.0.0.0", "//[::]"))
    options: dict[str, object] = {
        "folder": str(folder.absolute()), "name": peer_id, "url": url if is_known else None, "peers": list(peers),
        "threads": workers or os.cpu_count() or 1, "all_features": all_features,
    }  # fmt: skip
    return WorkerSupervisor(scheduler, options)


@command.command("devstack", epilog=DEVSTACK_EPILOG)
@click.option("-n", "--nodes", metavar="N", type=click.IntRange(1, 32), default=3, show_default=True,
              help="How many nodes.")  # fmt: skip
@click.option("--folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of their stores, which stay.  [default: a temporary one, removed at the end]")  # fmt: skip
@click.option("--workers", metavar="N", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Processes that run jobs, of each node.")  # fmt: skip
@click.option("--log-format", type=click.Choice(("plain", "json")), default="plain", show_default=True,
              help="How the nodes' log on standard error is written.")  # fmt: skip
def devstack(*, nodes: int, folder: Path | None, workers: int, log_format: str) -> None:
    """Run several nodes on this machine that know each other, for trying and for tests."""
    _check_installed()
    from bacnode.app.devstack import run_stack

    def on_ready(node: Started) -> None:
        say(json.dumps(node.as_json()))

    def on_end(node: Started, status: int) -> None:
        say(f"note: node {node.number} ({node.url}) ended with status {status}", err=True)

    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bacpack-devstack-")))
        arguments = ("--workers", str(workers), "--log-format", log_format)
        run_stack(nodes, folder.absolute(), arguments, on_ready, on_end)


@command.command("labels")
@click.option("--store", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the store and the node's state.  [default: the store of the other commands]")  # fmt: skip
@common_options
def labels(output: Output, *, store: Path | None) -> None:
    """Print the setting by which a Bacalhau node offers the proprietary modules of the node beside it.

    \b
    bacalhau serve --compute -c "$(bacpack node labels)"
    """
    from bacnode.schedulers.bacalhau.labels import label_of, setting
    from bacnode.stores.proprietary import Proprietary
    from bacpack.folders import data_folder

    modules = Proprietary(data_folder() if store is None else store).modules
    keys = {cid: label_of(cid) for cid in sorted(modules)}
    output.result({"labels": [{"cid": cid, "key": key} for cid, key in keys.items()]}, setting(modules))


def _check_installed(*, mdns: bool = False) -> None:
    if not has_extra("node"):
        raise InputError(
            "no-node",
            "this bacpack was installed without what a node needs",
            hint=line_for_extra("node"),
        )
    if mdns and find_spec("zeroconf") is None:
        raise InputError(
            "no-mdns",
            "this bacpack was installed without what finds nodes on the local network",
            hint=line_for_extra("node"),
        )


def _check_scheduler(scheduler: str) -> None:
    """Raise an error where no worker of Dask could run here, or none at this address."""
    from bacpack.advisories import unsafe_engine

    if not has_extra("dask"):
        raise InputError("no-dask", "this bacpack was installed without Dask", hint=line_for_extra("dask"))
    if unsafe := unsafe_engine("no jobs of a scheduler are run"):
        raise unsafe
    from bacnode.schedulers.dask.address import check_scheduler

    check_scheduler(scheduler, "worker")
