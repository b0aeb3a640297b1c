"""Signed envelopes: DSSE with ed25519.

Specification: https://github.com/secure-systems-lab/dsse. What is signed is `pae` of type and payload, so that one
cannot be taken for another. Keys are PEM files as `openssl genpkey -algorithm ed25519` writes them.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bacpack.attest.statement import canonical
from bacpack.decode import decode_json
from bacpack.errors import BacpackError, CheckFailedError, InputError
from bacpack.files import read_file
from bacpack.installed import has_extra, line_for_extra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: The envelope's name in a release.
ENVELOPE_NAME = "provenance.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


class _Signature(msgspec.Struct):
    sig: str
    keyid: str | None = None


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_Signature]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: the pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the envelope of a statement; ed25519 gives the same signature for the same bytes and key."""
    signature = {"keyid": key_id(key.public_key()), "sig": _encode(key.sign(pae(PAYLOAD_TYPE, payload)))}
    return canonical({"payload": _encode(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]})


def opened(envelope: bytes, key: Ed25519PublicKey, where: str) -> bytes:
    """Return the statement in an envelope that `key` has signed; raises `CheckFailedError` (`bad-signature`)."""
    from cryptography.exceptions import InvalidSignature

    try:
        fields = decode_json(envelope, _Envelope)
        payload, kind = _decode(fields.payload), fields.payload_type
        signatures = [(entry.keyid, _decode(entry.sig)) for entry in fields.signatures]
    except ValueError as error:
        raise _bad_signature(where, f"it is no DSSE envelope: {error}") from error
    if kind != PAYLOAD_TYPE:
        raise _bad_signature(where, f"it holds `{kind}`, and no in-toto statement")
    for _, signature in signatures:
        try:
            key.verify(signature, pae(kind, payload))
        except InvalidSignature:
            continue
        return payload
    own = key_id(key)
    if own in [name for name, _ in signatures]:
        raise _bad_signature(where, "what was signed with this key was changed afterwards")
    others = ", ".join(str(name) for name, _ in signatures) or "nobody"
    raise _bad_signature(where, f"it is signed by {others}, and not by this key, {own}")


def key_id(key: Ed25519PublicKey) -> str:
    """Return what a key is called: the sha2-256 of the public key's DER form."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key; raises `InputError` (`bad-key`, `no-cryptography`)."""
    data = read_file(path)
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except TypeError as error:
        raise _bad_key(path, "it is encrypted", "decrypt it: openssl pkey -in KEY -out PLAIN") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_key(path, "it is no private key in PEM", "openssl genpkey -algorithm ed25519 -out KEY") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad_key(path, "it is no ed25519 key", "openssl genpkey -algorithm ed25519 -out KEY")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key; raises as `load_private_key`."""
    data = read_file(path)
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    hint = "openssl pkey -in KEY -pubout -out PUBLIC"
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_key(path, "it is no public key in PEM", hint) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _bad_key(path, "it is no ed25519 key", hint)
    return key


def _need_cryptography() -> None:
    if not has_extra("sign"):
        raise InputError(
            "no-cryptography",
            "signatures need the package `cryptography`, which is not installed",
            hint=line_for_extra("sign"),
        )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    # By the specification both alphabets are allowed, and padding may be missing.
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"bad base64: {error}") from error


def _bad_key(path: Path, reason: str, hint: str) -> BacpackError:
    return InputError("bad-key", f"`{path}` cannot be used: {reason}", hint=hint, details={"path": str(path)})


def _bad_signature(where: str, reason: str) -> CheckFailedError:
    return CheckFailedError(
        "bad-signature",
        f"the signature in `{where}` does not hold: {reason}",
        hint="do not trust the release; is it the right key?",
        details={"path": where},
    )
