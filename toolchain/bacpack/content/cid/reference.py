"""References to content, as people type them: a path, a CID, `CID/path`, `/ipfs/…`, `ipfs://…` or an http(s) URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from bacpack.content.cid.cid import MAX_CID_CHARACTERS, BadCidError, Cid, is_cid
from bacpack.errors import InputError

#: Shorter text that is no CID is taken for a path, not for a CID with a typing error.
_SHORTEST_CID_LIKE = 46

_FORMS = "give a path, a CID, CID/path/inside, /ipfs/CID, ipfs://CID or an http(s) URL"

#: How other tools write the path to content, and to what an IPNS name stands for.
_ROOT, _MUTABLE = "/ipfs/", ("/ipns/", "ipns:/", "dweb:/ipns/")
#: Addresses of content: ipfs://CID, and older forms with the path in them.
_IPFS_ADDRESS = re.compile(
    r"(?:(?:web\+)?ipfs://(?:ipfs/)?|ipfs:/ipfs/|dweb:/{0,2}/ipfs/|dweb://ipfs/)(.+)", re.I | re.S
)
#: How most CIDs begin, in the bases in which they are seen.
_BEGINNINGS = ("Qm", "baf", "BAF", "k2", "K2", "f01", "F01")
#: Text in base64 may have slashes in it.
_WITH_SLASHES = ("m", "M")


@dataclass(frozen=True, slots=True)
class PathRef:
    """A file or folder on this machine; it need not exist."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class CidRef:
    """Content by CID, and the names to follow inside it."""

    cid: Cid
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join((str(self.cid), *self.path))


@dataclass(frozen=True, slots=True)
class UrlRef:
    """Content at an http or https URL."""

    url: str

    def __str__(self) -> str:
        return self.url


Ref: TypeAlias = PathRef | CidRef | UrlRef


def parse_ref(text: str) -> Ref:
    """Read a reference.

    What parses as a CID is one, also after `/ipfs/` as other tools write it, so that its meaning depends on no file
    that happens to lie around; `./` before a name makes it a path. Raises `InputError`: `bad-ref` for an unknown scheme
    or a bad path inside, `bad-cid` for what looks like a CID but is none.
    """
    if text.lower().startswith(_MUTABLE) and not (text.startswith("/") and Path(text).exists()):
        reason = "names of IPNS are not followed: what they lead to changes"
        raise _bad_ref(text, reason, hint="give the CID that it leads to now, as `ipfs name resolve` says")
    if address := _IPFS_ADDRESS.fullmatch(text):
        if "?" in address[1] or "#" in address[1]:
            raise _bad_ref(text, "a query or fragment means nothing here")
        return _parse_cid_path(text, unquote(address[1]))
    scheme, separator, rest = text.partition("://")
    if separator:
        scheme = scheme.lower()
        if scheme in ("http", "https") and rest:
            return UrlRef(text)
        raise _bad_ref(text, f"the scheme `{scheme}` is not supported" if rest else "nothing follows the scheme")
    content = text.removeprefix(_ROOT)
    try:
        return _parse_cid_path(text, content)
    except BadCidError:
        first = content.partition("/")[0]
        looks_like_cid = first.startswith(_BEGINNINGS) and len(first) >= _SHORTEST_CID_LIKE and "." not in first
        if (looks_like_cid or content != text) and not Path(text).exists():
            raise
        if not text or "\0" in text:
            raise _bad_ref(text, "it is empty" if not text else "it holds a null character") from None
        return PathRef(Path(text))


def _parse_cid_path(text: str, cid_path: str) -> CidRef:
    first, *names = cid_path.split("/")
    if first.startswith(_WITH_SLASHES):
        while names and len(first) < MAX_CID_CHARACTERS and not is_cid(first):
            first = f"{first}/{names.pop(0)}"
        if not is_cid(first):
            first, *names = cid_path.split("/")
    cid = Cid.parse(first)
    names = [name for name in names if name]
    if any(name in (".", "..") or "\0" in name for name in names):
        raise _bad_ref(text, "a path inside a CID has no `.`, `..` or null character")
    return CidRef(cid, tuple(names))


def _bad_ref(text: str, reason: str, hint: str = _FORMS) -> InputError:
    return InputError(
        "bad-ref",
        f"`{text}` is no reference to content: {reason}",
        hint=hint,
        details={"ref": text},
    )
