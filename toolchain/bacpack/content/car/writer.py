"""Writing CAR files, version 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bacpack.content.car.header import encode_header
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.varint import encode_varint


def car_chunks(roots: Sequence[Cid], blocks: Iterable[tuple[Cid, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a CAR file with these roots and blocks, as given: `read_dag` gives them in the usual order.

    Blocks with an identity CID are left out, as the gateway specification demands: the CID holds them.
    """
    yield encode_header(roots)
    for cid, data in blocks:
        if cid.is_identity:
            continue
        prefix = bytes(cid)
        yield encode_varint(len(prefix) + len(data)) + prefix
        yield data
