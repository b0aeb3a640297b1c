"""What a request for content asks for: which format, which part of the DAG, under which name.

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/, and of the query parameters that say the same
as headers https://specs.ipfs.tech/ipips/ipip-0523/: the query wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

from bacnode.http_server.errors import RequestError
from bacpack.content.car.selection import ByteRange, Scope, Selection
from bacpack.content.cid.cid import Cid

Format: TypeAlias = Literal["raw", "car"]

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"

#: Most query parameters that are looked at.
_MAX_PARAMETERS = 64
#: Queries and headers up to this length are remembered: most requests have one of a few.
_USUAL_CHARACTERS = 100
_BLOCK = Selection("block")
_TYPES: dict[str, Format] = {RAW_TYPE: "raw", CAR_TYPE: "car"}
_SCOPES: dict[str, Scope] = {"block": "block", "entity": "entity", "all": "all"}
_HINT = "see https://specs.ipfs.tech/http-gateways/trustless-gateway/"


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """A request for content that can be understood."""

    cid: Cid
    #: The CID as text, and that of version 1.
    text: str
    name: str
    names: tuple[str, ...]
    format: Format
    selection: Selection
    #: What the client wants to call the file, or nothing.
    filename: str
    #: The same request with its format in the query, where only headers said it.
    location: str | None


def parse_content_request(raw_path: str, query: str, accept: str) -> ContentRequest:
    """Read a request; `raw_path` is as it came, after `/ipfs/`. Raises `RequestError` and `BadCidError`."""
    first, *rest = raw_path.split("/")
    text = unquote(first) if "%" in first else first
    cid = Cid.parse(text)
    # A CID has one spelling in each base, so that in base32, which nearly all come in, need not be written anew.
    name = text if text[0] == "b" else str(cid.to_v1())
    names = _names(rest) if rest else ()
    asked = _query(query) if len(query) <= _USUAL_CHARACTERS else _query.__wrapped__(query)
    accepted = _best_accepted(accept) if len(accept) <= _USUAL_CHARACTERS else _best_accepted.__wrapped__(accept)
    chosen = _format(asked, accepted)
    # Parameters of the media type count for the format that was chosen, also where the query chose it.
    parameters = accepted[1] if accepted is not None and chosen == "car" and accepted[0] == CAR_TYPE else {}
    if chosen == "raw" and names:
        raise _bad("a path after the CID goes with CARs, not with raw blocks")
    location = None
    if "format" not in asked:
        separator = "&" if query else ""
        location = f"/ipfs/{raw_path}?{query}{separator}format={chosen}"
    selection = _selection(asked, parameters) if chosen == "car" else _BLOCK
    return ContentRequest(cid, text, name, names, chosen, selection, asked.get("filename", ""), location)


def _names(parts: Sequence[str]) -> tuple[str, ...]:
    try:
        # Split before: a slash that is written `%2F` belongs to a name.
        return tuple(unquote(part, errors="strict") for part in parts if part)
    except UnicodeDecodeError:
        raise _bad("the path is not UTF-8") from None


@lru_cache
def _query(query: str) -> Mapping[str, str]:
    """Return the parameters; of one that is repeated, the first."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise _bad(f"the query cannot be read: {error}") from None
    return dict(reversed(pairs))


def _format(asked: Mapping[str, str], accepted: tuple[str, dict[str, str]] | None) -> Format:
    if "format" in asked:
        match asked["format"]:
            case "raw" | "car" as chosen:
                return chosen
        raise _not_acceptable(f"the format `{asked['format']}`")
    if accepted is None:
        raise _bad("neither `format` in the query nor `Accept` says what is wanted, and nothing is served by default")
    if accepted[0] not in _TYPES:
        raise _not_acceptable(f"`{accepted[0]}`")
    return _TYPES[accepted[0]]


@lru_cache
def _best_accepted(accept: str) -> tuple[str, dict[str, str]] | None:
    """Return the media type, with its parameters, that the client prefers of those served; else the first it names."""
    best: tuple[float, str, dict[str, str]] | None = None
    first: tuple[str, dict[str, str]] | None = None
    for item in accept.split(","):
        kind, *given = (part.strip() for part in item.split(";"))
        kind = kind.lower()
        if "/" not in kind or kind.endswith("/*"):
            continue
        pairs = (part.partition("=") for part in given)
        parameters = {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}
        quality = _quality(parameters.pop("q", "1"))
        if quality <= 0:
            continue
        first = first or (kind, parameters)
        if kind in _TYPES and (best is None or quality > best[0]):
            best = quality, kind, parameters
    return best[1:] if best else first


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0


def _selection(asked: Mapping[str, str], parameters: Mapping[str, str]) -> Selection:
    version = asked.get("car-version", parameters.get("version", "1"))
    if version != "1":
        raise _bad(f"CARs of version `{version}` are not written; those of version 1 are")
    # Depth first always, also for those to whom the order is all the same.
    order = asked.get("car-order", parameters.get("order", "dfs"))
    if order not in ("dfs", "unk", ""):
        raise _bad(f"the order `{order}` is neither `dfs` nor `unk`")
    repeats = asked.get("car-dups", parameters.get("dups", "n"))
    if repeats not in ("y", "n", ""):
        raise _bad(f"`dups` is `{repeats}`, neither `y` nor `n`")
    scope = asked.get("dag-scope", "all")
    if scope not in _SCOPES:
        raise _bad(f"the scope `{scope}` is none of `block`, `entity` and `all`")
    wanted = asked.get("entity-bytes")
    return Selection("entity" if wanted else _SCOPES[scope], _range(wanted) if wanted else None, repeats == "y")


def _range(text: str) -> ByteRange:
    first, colon, last = text.partition(":")
    try:
        found = ByteRange(_offset(first), None if last == "*" else _offset(last))
    except ValueError:
        colon = ""
    if not colon:
        raise _bad(f"`entity-bytes` is `{text[:60]}`; it is written as `FROM:TO`, such as 0:1023, -1024:* or 512:*")
    if found.last is not None and (found.first < 0) == (found.last < 0) and found.first > found.last:
        raise _bad(f"`entity-bytes` is `{text[:60]}`: it ends before it starts")
    return found


def _offset(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 19:
        raise ValueError
    return int(text)


def _bad(reason: str) -> RequestError:
    return RequestError("bad-request", reason, hint=_HINT)


def _not_acceptable(what: str) -> RequestError:
    return RequestError(
        "not-acceptable", f"{what} is not served here", hint=f"ask for `{RAW_TYPE}` or `{CAR_TYPE}`", status=406
    )
