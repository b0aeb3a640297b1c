"""The options of commands that need content which may be elsewhere: who is asked for it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bacpack.errors import InputError

if TYPE_CHECKING:
    from bacnode.fetch.session import Web
    from bacpack.content.cid.cid import Cid

if TYPE_CHECKING:
    from bacnode.fetch.session import Web
    from bacpack.project.modules import FetchClosure

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Who may be asked for content, as the command line says it."""

    peers: Sequence[str] = ()
    gateways: Sequence[str] = ()
    kubo: str | None = None
    offline: bool = False
    allow_private: bool = False

    def web(self, seconds: float | None = None) -> Web:
        """Return the sources on the network: those given, then those configured, and what URLs are held to.

        No request outlasts so many seconds from now on. Raises `InputError` when the configuration cannot be used.
        """
        from bacnode.fetch.session import ORDER, Web

        deadline = None if seconds is None else time.monotonic() + seconds
        peers, gateways, kubo = self.peers, self.gateways, self.kubo
        order: Sequence[str] = ORDER
        authorization = None
        if not self.offline and _has_config():
            from bacpack.project.settings.config import load_project

            project = load_project()
            table = project.fetch
            peers, gateways = peers or table.peers, gateways or table.gateways
            kubo, order = kubo or table.kubo, table.order
            token_file = project.publish.token_files.get("kubo")
            authorization = _authorization(kubo, project.resolve(token_file) if token_file else None)
        elif not self.offline:
            authorization = _authorization(kubo, None)
        for url in (*peers, *gateways, *([kubo] if kubo else ())):
            _refuse_secret(url)
        web = Web(
            peers,
            gateways=gateways,
            kubo=[kubo] if kubo else [],
            kubo_authorization=authorization,
            order=order,
            offline=self.offline,
            allow_private=self.allow_private,
            hold_url=_hold_url,
            deadline=deadline,
        )
        context = click.get_current_context(silent=True)
        if context:
            context.call_on_close(web.http.close)
        return web


def source_options(function: F) -> F:
    """Add `--peer`, `--gateway`, `--kubo`, `--offline` and `--allow-private`, and pass them on as `sources`."""

    @click.option("--peer", "peers", metavar="URL", multiple=True, callback=_urls,
                  help="Ask this node for what is not here. May be repeated.")  # fmt: skip
    @click.option("--gateway", "gateways", metavar="URL", multiple=True, callback=_urls,
                  help="Ask this IPFS gateway, after the peers. May be repeated.")  # fmt: skip
    @click.option("--kubo", metavar="URL", callback=_url,
                  help="Ask the Kubo whose RPC this is, after the gateways.")  # fmt: skip
    @click.option("--offline", is_flag=True, help="Use what is here and never the network.")
    @click.option("--allow-private", is_flag=True,
                  help="Let modules import from URLs at addresses that are not public.")  # fmt: skip
    @functools.wraps(function)
    def with_sources(
        *args: Any,
        peers: Sequence[str],
        gateways: Sequence[str],
        kubo: str | None,
        offline: bool,
        allow_private: bool,
        **kwargs: Any,
    ) -> Any:
        return function(*args, sources=SourceOptions(peers, gateways, kubo, offline, allow_private), **kwargs)

    return with_sources  # type: ignore[return-value]  # same call, less the options that it takes care of


def _urls(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    for value in values:
        _url(_ctx, _param, value)
    return values


def _url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise click.BadParameter(f"`{value}` is no http or https URL")
    return value


def _refuse_secret(url: str) -> None:
    """Refuse a URL with a user or password in it: URLs are shown in messages, and noted as where content came from."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise InputError(
            "secret-in-url",
            f"the URL of a source at `{url.rpartition('@')[2]}` has a user or password in it, which others could see",
            hint="leave it out; a Kubo's token goes into BACPACK_KUBO_TOKEN",
        )


def _has_config() -> bool:
    """Whether there is a `bacpack.toml`: what reads it takes long to import."""
    folder = Path().absolute()
    return any((above / "bacpack.toml").is_file() for above in (folder, *folder.parents))


def _authorization(kubo: str | None, configured: Path | None) -> str | None:
    if kubo is None:
        return None
    from bacpack.publish.targets.tokens import find_token

    token = find_token("kubo", {}, {"kubo": configured} if configured else {})
    return token.header if token else None


def _hold_url(url: str, cid: Cid, size: int) -> bool:
    from bacpack.folders import data_folder
    from bacpack.project.settings.lock_file import UrlLock, lock_path

    return UrlLock(lock_path(data_folder())).hold(url, cid, size)


def closure_fetcher(web: Callable[[], Web]) -> FetchClosure:
    """Return what fetches a module and all that it imports, itself last, from the store or the sources of `web`."""

    def fetch(ref: str) -> list[bytes]:
        from bacnode.fetch.limits import LoadLimits
        from bacnode.programs.open_program import open_program
        from bacnode.programs.resolver import resolve
        from bacpack.content.store.block_store import BlockStore
        from bacpack.folders import data_folder

        limits = LoadLimits()
        program = open_program(ref, BlockStore(data_folder()), web(), limits)
        graph = resolve(program.root, program.sources.fetch, limits, program.sources.announce)
        graph.check()
        return [node.fetched.data for node in graph.nodes]

    return fetch
