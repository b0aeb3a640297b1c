"""Following a path from a CID: names in directories, keys and indices in dag-cbor documents.

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/, which asks for every block on the way, so that
whoever receives them can follow the path too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bacpack.content.cid.block import GetBlock
from bacpack.content.cid.cid import DAG_CBOR, Cid
from bacpack.content.ipld import dag_cbor
from bacpack.content.unixfs.reader import trail
from bacpack.errors import InputError

#: Most names in a path.
MAX_NAMES = 256


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a path led."""

    #: Blocks read on the way, in order, before the last.
    before: tuple[Cid, ...]
    #: The block in which the path ends.
    end: Cid
    #: What each part of the path that is a block of its own led to: the CID it starts from, and further ones.
    roots: tuple[Cid, ...]
    #: Names that were left when it came to a document and found no further link: they lead into that.
    inside: tuple[str, ...] = ()


def trace(get: GetBlock, cid: Cid, names: Sequence[str]) -> Trace:
    """Follow `names` from `cid`.

    Raises `InputError` (`no-such-entry`, `not-a-directory`), `BadBlockError`, and what `get` raises.
    """
    if len(names) > MAX_NAMES:
        raise InputError("too-deep", f"a path of {len(names)} names is not followed", hint=f"up to {MAX_NAMES} are")
    before: list[Cid] = []
    roots = [cid]
    left = list(names)
    while left:
        if cid.codec == DAG_CBOR:
            value, inside = _descend(dag_cbor.decode(get(cid), cid), left, cid)
            if not isinstance(value, Cid):
                return Trace(tuple(before), cid, tuple(roots), inside)
            before.append(cid)
            cid = value
        else:
            found = trail(get, cid, left[0])
            if not found:
                raise _no_such_entry(cid, left[0])
            before += [cid, *found[:-1]]
            cid = found[-1]
            left = left[1:]
        roots.append(cid)
    return Trace(tuple(before), cid, tuple(roots))


def value_inside(block: bytes, cid: Cid, names: Sequence[str]) -> dag_cbor.Value:
    """Return the value that `names` lead to within the document `cid`; raises as `trace` does."""
    return _descend(dag_cbor.decode(block, cid), list(names), cid)[0]


def _descend(value: dag_cbor.Value, left: list[str], cid: Cid) -> tuple[dag_cbor.Value, tuple[str, ...]]:
    """Follow names into a document up to the first link, taking them off `left`; return that or the value, and them."""
    taken: list[str] = []
    while left and not isinstance(value, Cid):
        name = left.pop(0)
        taken.append(name)
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise _no_such_entry(cid, name)
    return value, tuple(taken)


def _no_such_entry(cid: Cid, name: str) -> InputError:
    return InputError(
        "no-such-entry",
        f"there is no `{name}` in `{cid}`",
        hint="the names are listed by `bacpack inspect` on the directory",
        details={"cid": str(cid), "name": name},
    )
