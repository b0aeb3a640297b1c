"""Walking a DAG: which blocks a block links to, and all blocks below a root."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from bacpack.content.cid.block import GetBlock, MissingBlockError
from bacpack.content.cid.cid import DAG_CBOR, DAG_PB, RAW, Cid
from bacpack.errors import InputError

#: Deepest DAG that is walked, as in IPFS's other implementations: what is deeper means harm.
MAX_DAG_DEPTH = 1024


def links_of(cid: Cid, block: bytes) -> Sequence[Cid]:
    """Return the CIDs that `block` links to, in order.

    Raises `BadBlockError`, and `InputError` (`unknown-codec`) for a codec whose links cannot be read.
    """
    if cid.codec == RAW:
        return ()
    if cid.codec == DAG_PB:
        from bacpack.content.ipld.dag_pb import decode_node

        return [link.cid for link in decode_node(block, cid).links]
    if cid.codec == DAG_CBOR:
        from bacpack.content.ipld.dag_cbor import links_in_cbor

        return links_in_cbor(block, cid)
    raise InputError(
        "unknown-codec",
        f"block {cid} has codec 0x{cid.codec:x}, whose links cannot be read",
        hint="supported codecs: raw, dag-pb, dag-cbor",
        details={"cid": str(cid), "codec": cid.codec},
    )


def walk(
    roots: Iterable[Cid],
    links: Callable[[Cid], Sequence[Cid]],
    on_missing: Callable[[MissingBlockError], None] | None = None,
) -> Iterator[Cid]:
    """Yield every CID reached from `roots`: parents before children, links left to right, each once.

    `links` returns where a block leads and raises `MissingBlockError` for one that is not available: that error goes
    to `on_missing` and the walk goes on beside it, or is raised if there is no `on_missing`. CIDs of version 0 and 1 of
    one block are one. Raises `InputError` (`too-deep`) below 1024 levels, and what `links` raises.
    """
    seen: set[Cid] = set()
    waiting = [(root, 0) for root in reversed(list(roots))]
    while waiting:
        cid, depth = waiting.pop()
        if cid.to_v1() in seen:
            continue
        seen.add(cid.to_v1())
        try:
            below = links(cid)
        except MissingBlockError as error:
            if on_missing is None:
                raise
            on_missing(error)
            continue
        yield cid
        if below and depth == MAX_DAG_DEPTH:
            raise InputError(
                "too-deep",
                f"the blocks below {cid} are nested more than {MAX_DAG_DEPTH} levels deep",
                hint="no honest content is: do not trust it",
                details={"cid": str(cid), "max_depth": MAX_DAG_DEPTH},
            )
        waiting.extend((link, depth + 1) for link in reversed(below))


def read_dag(
    get: GetBlock, roots: Iterable[Cid], on_missing: Callable[[MissingBlockError], None] | None = None
) -> Iterator[tuple[Cid, bytes]]:
    """Yield CID and bytes of every block that `walk` reaches through `get`; arguments and errors as there."""
    block = b""

    def links(cid: Cid) -> Sequence[Cid]:
        nonlocal block
        block = get(cid)
        return links_of(cid, block)

    for cid in walk(roots, links, on_missing):
        yield cid, block
