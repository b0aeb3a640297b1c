"""Fetching a module that `bacpack.toml` names by CID or URL, with all that it imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bacnode.fetch.session import Web
    from bacpack.project.modules import FetchClosure


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
