"""The value of a module's key in Dask: not the module, but who has it.

Dask moves values between workers as pickles. What it moves here is a few URLs; the module itself comes from one of them
as any module does, block by block, each compared with its CID.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: How many holders are remembered of one module.
_MAX_URLS = 4


#: Says at which URL this process gives a module, None if it does not; set by the worker's plugin.
local_url: Callable[[str], str | None] = lambda cid: None  # noqa: E731 - replaced as a whole


class Replica:
    """Who has a module. When it leaves a worker that holds the module, it says so."""

    __slots__ = ("cid", "urls")

    def __init__(self, cid: str, urls: Sequence[str] = ()) -> None:
        self.cid = cid
        self.urls = tuple(urls)

    def __reduce__(self) -> tuple[type[Replica], tuple[str, tuple[str, ...]]]:
        own = local_url(self.cid)
        urls = [url for url in self.urls if url != own]
        return Replica, (self.cid, tuple([own, *urls] if own else urls)[:_MAX_URLS])
