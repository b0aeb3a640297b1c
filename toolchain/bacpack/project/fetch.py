"""Fetching a module that `bacpack.toml` names by CID or URL, with all that it imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bacnode.resolver import Fetched
    from bacnode.web import Web
    from bacpack.project.modules import FetchClosure


def closure_fetcher(web: Callable[[], Web]) -> FetchClosure:
    """Return what fetches a module and all that it imports, itself last, from the store or the sources of `web`."""

    def fetch(ref: str) -> list[Fetched]:
        from bacnode.limits import LoadLimits
        from bacnode.programs import open_program
        from bacnode.resolver import resolve
        from bacpack.content.store import BlockStore
        from bacpack.folders import data_folder

        limits = LoadLimits()
        program = open_program(ref, BlockStore(data_folder()), web(), limits)
        graph = resolve(program.root, program.sources.fetch, limits, program.sources.announce)
        graph.check()
        return [node.fetched for node in graph.nodes]

    return fetch
