"""Self-describing hashes: a function's code, the digest's length, the digest.

Specification: https://github.com/multiformats/multihash; codes from https://github.com/multiformats/multicodec.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from bacpack.content.cid.varint import decode_varint, encode_varint
from bacpack.errors import InputError

IDENTITY = 0x00
SHA2_256 = 0x12

#: Shorter digests do not stand up to a search for a second input. The bound of IPFS's other implementations.
MIN_DIGEST_BYTES = 20
#: No known function gives more, and an identity digest, which is the data itself, must stay small.
MAX_DIGEST_BYTES = 128


def _blake2b_256(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


#: Each function that can be checked: its name in the multicodec table, and what computes it.
_FUNCTIONS: dict[int, tuple[str, Callable[[bytes | memoryview], bytes]]] = {
    IDENTITY: ("identity", bytes),
    SHA2_256: ("sha2-256", lambda data: hashlib.sha256(data).digest()),
    0x13: ("sha2-512", lambda data: hashlib.sha512(data).digest()),
    0xB220: ("blake2b-256", _blake2b_256),
}


def sha2_256(data: bytes | memoryview) -> bytes:
    """Return the sha2-256 multihash of `data`."""
    return b"\x12\x20" + hashlib.sha256(data).digest()


def decode_multihash(data: bytes, offset: int = 0) -> tuple[int, int, int]:
    """Read the multihash at `offset`; return its function's code and where its digest starts and ends.

    Raises `ValueError` when the bytes end inside it and when the digest's length is not allowed.
    """
    code, offset = decode_varint(data, offset)
    length, start = decode_varint(data, offset)
    if length > MAX_DIGEST_BYTES or (length < MIN_DIGEST_BYTES and code != IDENTITY):
        raise ValueError(
            f"the digest is {length} bytes long; from {MIN_DIGEST_BYTES} to {MAX_DIGEST_BYTES} are allowed"
        )
    if start + length > len(data):
        raise ValueError("the digest is cut short")
    return code, start, start + length


def multihash_of(code: int, data: bytes | memoryview) -> bytes:
    """Return the multihash of `data` under the function `code`; raises `UnknownHashError`."""
    digest = _function(code)[1](data)
    return encode_varint(code) + encode_varint(len(digest)) + digest


def matches(multihash: bytes, data: bytes | memoryview) -> bool:
    """Whether `data` has this hash; raises `UnknownHashError` when it cannot be told.

    A digest may be cut shorter than its function gives, as the specification allows, though not longer.
    """
    if multihash[:2] == b"\x12\x20":
        return hashlib.sha256(data).digest() == multihash[2:]
    code, start, end = decode_multihash(multihash)
    digest = _function(code)[1](data)
    if code == IDENTITY:
        return digest == multihash[start:end]
    return digest[: end - start] == multihash[start:end]


class UnknownHashError(InputError):
    """A hash function cannot be computed here; the code is `unknown-hash`."""

    def __init__(self, hash_code: int, where: str = "") -> None:
        #: The function's code in the multicodec table.
        self.hash_code = hash_code
        names = ", ".join(name for name, _ in _FUNCTIONS.values())
        super().__init__(
            "unknown-hash",
            f"hash function 0x{hash_code:x} is not supported, so the content named by it{where} cannot be verified",
            hint=f"supported functions: {names}",
            details={"hash": hash_code},
        )


def _function(code: int) -> tuple[str, Callable[[bytes | memoryview], bytes]]:
    try:
        return _FUNCTIONS[code]
    except KeyError:
        raise UnknownHashError(code) from None
