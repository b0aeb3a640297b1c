"""What pages of anyone may read."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]
#: Any page in a browser may read what is public by its nature.
CROSS_ORIGIN: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Content-Length, Content-Location, Etag, X-Ipfs-Path, X-Ipfs-Roots"),
]
#: What a browser asks for before some requests.
PREFLIGHT: Headers = [
    *CROSS_ORIGIN,
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Accept, Cache-Control, Content-Type, If-None-Match, Range, X-Requested-With"),
]
