"""The node's identity: an ed25519 key, kept for as long as the node, and the peer ID that names its public half.

Specification: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bacpack.content.cid.multibase import encode_base58
from bacpack.content.cid.multihash import IDENTITY
from bacpack.errors import InputError
from bacpack.secret_file import private_file

KEY_FILE = "node-key"
#: The peer ID of a node, whose key is ed25519, or of another, as it is written.
PEER_ID = re.compile(r"(?:12D3KooW|Qm)[1-9A-HJ-NP-Za-km-z]{40,60}")

#: A public key as libp2p writes it, in protobuf: field 1 says ed25519, field 2 holds 32 bytes.
_ED25519_PREFIX = bytes.fromhex("08011220")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is to others."""

    key: Ed25519PrivateKey
    peer_id: str


def load_identity(folder: Path) -> Identity:
    """Return the identity in `folder`, made on first use; raises `InputError` (`bad-node-key`)."""
    path = folder / KEY_FILE
    content = private_file(path, _new_key)
    try:
        key = serialization.load_pem_private_key(content, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("it is of another kind")
    except (ValueError, TypeError) as error:
        raise InputError(
            "bad-node-key",
            f"`{path}` holds no ed25519 key in PEM: {error}",
            hint="restore it, or delete it: the next start makes a new one, and the node gets another name",
            details={"path": str(path)},
        ) from None
    return Identity(key, peer_id_of(key.public_key().public_bytes_raw()))


def peer_id_of(public_key: bytes) -> str:
    """Return the peer ID of an ed25519 public key: it holds the key itself."""
    key = _ED25519_PREFIX + public_key
    return encode_base58(bytes((IDENTITY, len(key))) + key)


def peer_id_of_url(url: str) -> str:
    """Return a peer ID for a gateway that tells none: clients want one, and take any where they go by the address."""
    return encode_base58(b"\x12\x20" + hashlib.sha256(url.encode()).digest())


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
