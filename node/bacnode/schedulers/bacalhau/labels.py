"""Labels of Bacalhau for proprietary modules: its nodes say what they offer, and jobs ask for it.

A label's key is one of Kubernetes': at most 63 characters, and the configuration that it is read from makes all letters
small. A CID in base 32 would just fit and leave no room for a prefix, so the key is a digest of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from bacpack.content.cid.cid import Cid

PREFIX = "bacpack-"
_DIGITS = 32


def label_of(cid: str) -> str:
    """The key of the label that stands for a module."""
    canonical = str(Cid.parse(cid).to_v1())
    return PREFIX + hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]


def setting(cids: Iterable[str]) -> str:
    """The setting that a Bacalhau node is started with: `bacalhau serve -c Labels=…`."""
    return "Labels=" + ",".join(f"{label_of(cid)}=1" for cid in sorted(cids))
