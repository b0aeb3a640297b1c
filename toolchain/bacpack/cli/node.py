"""`bacpack node`: run a node that holds modules, serves them and takes them in."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import click

from bacpack.errors import InputError

EPILOG = """\b
Examples:
  bacpack node serve
  bacpack node serve --listen 0.0.0.0:8301 --peer http://10.0.0.7:8301
  bacpack node serve --listen 127.0.0.1:0 --store /srv/bacpack

\b
Once it accepts requests it prints one line, {"schema": 1, "url": …, "peer_id": …}.
What may be read is open to whoever reaches the address. To upload or pin, a client shows the token
in the file `node-token` in the store's folder, made on the first start.

\b
Exit status:
  0  ended by SIGTERM or SIGINT
  2  wrong usage, or the address or the store cannot be used
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
              help="Another node, told to those who look for content; may be given more than once.")  # fmt: skip
@click.option("--store", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the store and the node's state.  [default: the store of the other commands]")  # fmt: skip
def serve(*, listen: str, peers: tuple[str, ...], store: Path | None) -> None:
    """Serve the store until told to end.

    Speaks IPFS's Trustless Gateway and Delegated Routing protocols, and takes in what `bacpack publish --to node:URL`
    sends.
    """
    if find_spec("uvicorn") is None or find_spec("starlette") is None or find_spec("cryptography") is None:
        raise InputError(
            "no-node",
            "this bacpack was installed without what a node needs",
            hint="pip install 'bacpack[node]'",
        )
    from bacnode.service.serve import parse_address
    from bacnode.service.serve import serve as run
    from bacpack.home import data_folder

    address = parse_address(listen)
    folder = data_folder() if store is None else store
    if not address.is_loopback:
        click.echo(f"note: whoever reaches {listen} can read what this node holds", err=True)

    def on_ready(url: str, peer_id: str) -> None:
        click.echo(json.dumps({"schema": 1, "url": url, "peer_id": peer_id}))

    run(address, folder, peers, on_ready)
