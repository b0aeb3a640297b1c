"""Hypothesis strategies: content."""

from __future__ import annotations

from hypothesis import strategies as st

from bacpack.content.cid.cid import DAG_CBOR, DAG_PB, RAW, Cid
from bacpack.content.cid.multihash import IDENTITY, SHA2_256, multihash_of

#: What the variable-length integers of CIDs, CAR files and protobuf can hold.
varints = st.integers(0, 2**63 - 1) | st.sampled_from([0, 127, 128, 2**14 - 1, 2**14, 2**56, 2**63 - 1])

#: Bytes of a small block.
block_bytes = st.binary(max_size=200)


@st.composite
def cids(draw: st.DrawFn) -> Cid:
    """CIDs of every version, codec and hash function that can be verified."""
    data = draw(st.binary(max_size=64))
    if draw(st.booleans()):
        return Cid(0, DAG_PB, multihash_of(SHA2_256, data))
    codec = draw(st.sampled_from([RAW, DAG_PB, DAG_CBOR, 0x0129, 0x0200]))
    return Cid(1, codec, multihash_of(draw(st.sampled_from([SHA2_256, 0x13, 0xB220, IDENTITY])), data))


@st.composite
def named_blocks(draw: st.DrawFn) -> tuple[Cid, bytes]:
    """A block with a CID that names it; its codec is raw, so that any bytes will do."""
    data = draw(block_bytes)
    return Cid(1, RAW, multihash_of(draw(st.sampled_from([SHA2_256, 0x13, 0xB220])), data)), data


#: Names that a directory can hold.
entry_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))

#: Values of the part of dag-cbor that is written.
cbor_values = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=30) | st.text(max_size=30) | cids(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
