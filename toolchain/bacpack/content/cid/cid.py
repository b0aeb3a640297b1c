"""Content identifiers (CIDs): a codec and a hash, written as one short name.

Specification: https://github.com/multiformats/cid. `Cid` is the type used throughout, quick to make, compare and hash;
`Cid.to_multiformats` and `Cid.from_multiformats` convert to the type of the `multiformats` package at the edge of the
API, and import that package only then, because its import takes longer than most commands.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bacpack.content.cid.multibase import decode_base58, decode_multibase, encode_base58
from bacpack.content.cid.multihash import IDENTITY, decode_multihash, matches, multihash_of, sha2_256
from bacpack.content.cid.varint import decode_varint, encode_varint
from bacpack.errors import InputError

if TYPE_CHECKING:
    from multiformats import CID

#: Codecs, from the multicodec table: what the bytes behind a CID are.
RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71

#: Longest text accepted as a CID: the largest digest in base32, with room for the other fields.
MAX_CID_CHARACTERS = 300

_V0_PREFIX = b"\x12\x20"
_V0_BYTES = 34
_V0_CHARACTERS = 46
#: Nearly every CID in use: version 1, raw or dag-pb, sha2-256.
USUAL_PREFIXES = (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20")
USUAL_BYTES = 36


class BadCidError(InputError):
    """Text or bytes are not a CID; the code is `bad-cid`."""

    def __init__(self, what: str, reason: str) -> None:
        #: Why, as a clause.
        self.reason = reason
        super().__init__(
            "bad-cid",
            f"`{what}` is not a CID: {reason}",
            hint="a CID is copied whole, such as bafkrei… (59 characters) or Qm… (46)",
            details={"cid": what},
        )


@dataclass(frozen=True, slots=True)
class Cid:
    """A CID. Make one with `parse`, `from_bytes`, `decode` or `of_raw`: they check what the constructor trusts."""

    #: 0 or 1; version 0 is always dag-pb with sha2-256.
    version: int
    codec: int
    multihash: bytes

    @classmethod
    def of_raw(cls, data: bytes | memoryview) -> Cid:
        """Return the CID of `data` as one raw block: version 1, sha2-256."""
        return cls(1, RAW, sha2_256(data))

    @classmethod
    def of_block(cls, codec: int, data: bytes | memoryview) -> Cid:
        """Return the CID of a block of `codec`: version 1, sha2-256."""
        return cls(1, codec, sha2_256(data))

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read a CID from text: `Qm…` for version 0, and any base of `bacpack.content.cid.multibase` for version 1.

        Raises `BadCidError`, also for text that decodes but is not how this CID is written, such as stray low bits:
        otherwise two names would stand for one CID.
        """
        if len(text) > MAX_CID_CHARACTERS:
            raise BadCidError(f"{text[:60]}…", f"it is longer than {MAX_CID_CHARACTERS} characters")
        try:
            if len(text) == _V0_CHARACTERS and text.startswith("Qm"):
                cid = cls.from_bytes(decode_base58(text))
            else:
                cid = cls.from_bytes(decode_multibase(text))
            if cid.version == 0 and text[0] != "Q":
                raise ValueError("a CID of version 0 is written without a multibase prefix")
        except (ValueError, BadCidError) as error:
            reason = error.reason if isinstance(error, BadCidError) else str(error)
            if not text.startswith(("b", "z")) and len(text) != _V0_CHARACTERS:
                # Nearly any word begins as text in some base does.
                reason = "it starts with none of `Qm`, `b` and `z`, and is none in another base"
            raise BadCidError(text, reason) from None
        return cid

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Read the CID that is all of `data`; raises `BadCidError`."""
        cid, end = cls.decode(data)
        if end != len(data):
            raise BadCidError(data.hex(), f"{len(data) - end} bytes follow it")
        return cid

    @classmethod
    def decode(cls, data: bytes, offset: int = 0) -> tuple[Cid, int]:
        """Read the CID at `offset` in `data`; return it and the offset after it; raises `BadCidError`."""
        prefix = data[offset : offset + 2]
        usual_end = offset + USUAL_BYTES
        if data[offset : offset + 4] in USUAL_PREFIXES and usual_end <= len(data):
            return cls(1, prefix[1], data[offset + 2 : usual_end]), usual_end
        try:
            if prefix == _V0_PREFIX:
                end = offset + _V0_BYTES
                if end > len(data):
                    raise ValueError("the digest is cut short")
                return cls(0, DAG_PB, data[offset:end]), end
            version, start = decode_varint(data, offset)
            if version != 1:
                raise ValueError(f"version {version} does not exist")
            codec, start = decode_varint(data, start)
            end = decode_multihash(data, start)[2]
        except ValueError as error:
            raise BadCidError(data[offset : offset + 40].hex(), str(error)) from None
        return cls(1, codec, data[start:end]), end

    def __bytes__(self) -> bytes:
        if self.version == 0:
            return self.multihash
        return b"\x01" + encode_varint(self.codec) + self.multihash

    def __str__(self) -> str:
        if self.version == 0:
            return encode_base58(self.multihash)
        return "b" + base64.b32encode(bytes(self)).decode("ascii").rstrip("=").lower()

    def to_v1(self) -> Cid:
        """Return the version 1 CID of the same block."""
        return self if self.version == 1 else Cid(1, self.codec, self.multihash)

    @property
    def hash_code(self) -> int:
        """Code of the hash function, from the multicodec table."""
        return decode_varint(self.multihash)[0]

    @property
    def is_identity(self) -> bool:
        """Whether the CID holds its data itself, in place of a hash of it."""
        return self.multihash[0] == IDENTITY

    @property
    def identity_data(self) -> bytes:
        """The data that an identity CID holds."""
        _, start, end = decode_multihash(self.multihash)
        return self.multihash[start:end]

    def matches(self, data: bytes | memoryview) -> bool:
        """Whether `data` is the block this names; raises `UnknownHashError` if it cannot be told."""
        return matches(self.multihash, data)

    def of_same_kind(self, data: bytes | memoryview) -> Cid:
        """Return the CID of `data` with this one's version, codec and hash function."""
        return Cid(self.version, self.codec, multihash_of(self.hash_code, data))

    def to_multiformats(self) -> CID:
        """Return the same CID as the `multiformats` package represents it."""
        from multiformats import CID

        return CID.decode(str(self))

    @classmethod
    def from_multiformats(cls, cid: CID) -> Cid:
        """Return the CID that `cid`, of the `multiformats` package, represents."""
        return cls.from_bytes(bytes(cid))


@lru_cache
def is_cid(text: str) -> bool:
    """Whether `text` is a CID."""
    try:
        Cid.parse(text)
    except BadCidError:
        return False
    return True
