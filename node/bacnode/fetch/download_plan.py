"""What of a DAG to ask for as one stream: pure, given where each block that is here leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bacpack.content.cid.cid import RAW, Cid

#: Fewer missing blocks than this are asked for one by one.
WORTH_A_CAR = 8


def wholly_missing(roots: Sequence[Cid], known: Mapping[Cid, Sequence[Cid]]) -> list[Cid]:
    """Return the highest blocks below which many leaves are missing and none is here."""
    counts: dict[Cid, tuple[int, int]] = {}
    waiting = [(root.to_v1(), False) for root in roots]
    while waiting:
        cid, below_done = waiting.pop()
        if cid in counts:
            continue
        links = [link.to_v1() for link in known.get(cid, ()) if not link.is_identity]
        if cid.codec == RAW or cid not in known or cid.is_identity:
            counts[cid] = (0, 1) if cid in known else (1, 0)
        elif below_done:
            counts[cid] = (sum(counts[link][0] for link in links), sum(counts[link][1] for link in links))
        else:
            waiting.append((cid, True))
            waiting.extend((link, False) for link in links)
    tops: list[Cid] = []
    seen: set[Cid] = set()
    below = [root.to_v1() for root in reversed(roots)]
    while below:
        cid = below.pop()
        if cid in seen:
            continue
        seen.add(cid)
        missing, stored = counts[cid]
        if stored:
            below.extend(link.to_v1() for link in reversed(known.get(cid, ())) if not link.is_identity)
        elif missing >= WORTH_A_CAR and cid in known:
            tops.append(cid)
    return tops
