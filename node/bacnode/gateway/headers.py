"""Headers of answers with content: what may be cached for how long, under which name, by whom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

from bacnode.gateway.request import CAR_TYPE, RAW_TYPE, ContentRequest
from bacnode.http_server.cross_origin import CROSS_ORIGIN, Headers
from bacpack.content.cid.cid import Cid

#: Content never changes under its CID: for eleven months, which is what caches are promised elsewhere too.
IMMUTABLE = (b"cache-control", b"public, max-age=29030400, immutable")
_COMMON: Headers = [IMMUTABLE, (b"x-content-type-options", b"nosniff"), (b"vary", b"Accept"), *CROSS_ORIGIN]
_RAW = [(b"content-type", RAW_TYPE.encode()), *_COMMON]
_CAR = [(b"accept-ranges", b"none"), *_COMMON]


def etag_of(request: ContentRequest) -> str:
    """Return the validator: strong for a block, which has one form; weak for a CAR, which depends on who wrote it."""
    if request.format == "raw":
        return f'"{request.text}.raw"'
    shape = repr((request.names, request.selection)).encode()
    return f'W/"{request.text}.car.{hashlib.sha256(shape).hexdigest()[:16]}"'


def content_headers(request: ContentRequest, path: str, etag: str, roots: Sequence[Cid]) -> Headers:
    """Return the headers of an answer with content, but its length; `path` is as the client wrote it."""
    if request.format == "raw":
        headers = _RAW.copy()
        suffix = "bin"
    else:
        repeats = "y" if request.selection.repeats else "n"
        headers = [(b"content-type", f"{CAR_TYPE}; version=1; order=dfs; dups={repeats}".encode()), *_CAR]
        suffix = "car"
    # A CID needs no care as a name, so it is not gone through.
    own = f'attachment; filename="{request.text}.{suffix}"'
    filename = disposition(request.filename) if request.filename else own
    headers += (
        (b"content-disposition", filename.encode("latin-1")),
        (b"etag", etag.encode()),
        (b"x-ipfs-path", f"/ipfs/{path}".encode("ascii", "replace")),
        (b"x-ipfs-roots", ",".join(map(str, roots)).encode() if roots else request.text.encode()),
    )
    if request.location:
        headers.append((b"content-location", request.location.encode("ascii", "replace")))
    return headers


def disposition(filename: str) -> str:
    """Return the value that lets a browser save the content under `filename`, and never show it."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\/' else "_" for c in filename)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename.replace('/', '_'), safe='')}"


def is_known(if_none_match: str, etag: str, *, exists: bool) -> bool:
    """Whether a client that sent this header holds what `etag` stands for; compared weakly, as the header asks for."""
    if if_none_match.strip() == "*":
        return exists
    wanted = etag.removeprefix("W/")
    return any(item.strip().removeprefix("W/") == wanted for item in if_none_match.split(","))
