"""Every base in which CIDs are written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import multibase

from bacpack.content.cid.cid import Cid
from bacpack.content.cid.multibase import decode_multibase
from bacpack.content.cid.reference import CidRef, PathRef, parse_ref
from cli.running import write
from inprocess import call
from node.harness import assemble

#: What the specification gives for `yes mani !` after two bytes of zero.
GIVEN = [
    "0000000000000000001111001011001010111001100100000011011010110000101101110011010010010000000100001",
    *("700000171312714403326055632220041", "900573277761329450583662625"),
    *("f0000796573206d616e692021", "F0000796573206D616E692021", "baaahszltebwwc3tjeaqq", "BAAAHSZLTEBWWC3TJEAQQ"),
    *("v0007ipbj41mm2rj940gg", "V0007IPBJ41MM2RJ940GG", "caaahszltebwwc3tjeaqq====", "CAAAHSZLTEBWWC3TJEAQQ===="),
    *("t0007ipbj41mm2rj940gg====", "T0007IPBJ41MM2RJ940GG====", "hyyy813murbssn5ujryoo", "k002lcpzo5yikidynfl"),
    *("K002LCPZO5YIKIDYNFL", "Z117Pznk19XTTzBtx", "z117paNL19xttacUY", "mAAB5ZXMgbWFuaSAh", "MAAB5ZXMgbWFuaSAh"),
    *("uAAB5ZXMgbWFuaSAh", "UAAB5ZXMgbWFuaSAh", "🚀🚀🚀🏃✋🌈😅🌷🤤😻🌟😅👏"),
]

#: All that the package writes as the specification does; it fills up base8.
BASES = [base.name for base in multibase.table() if base.name not in ("identity", "proquint", "base256emoji", "base8")]


@pytest.mark.parametrize("text", GIVEN)
def test_each_base_of_the_specification(text: str) -> None:
    assert decode_multibase(text) == b"\0\0yes mani !"


@given(st.binary(max_size=50), st.sampled_from(BASES))
def test_what_others_encode_is_read(data: bytes, base: str) -> None:
    text = multibase.encode(data, base)
    if data:
        assert decode_multibase(text) == data


@given(st.text(max_size=40), st.sampled_from([text[0] for text in GIVEN]))
def test_any_text_is_read_or_refused(text: str, prefix: str) -> None:
    with suppress(ValueError):
        decode_multibase(prefix + text)


@pytest.mark.parametrize(
    "text", ["", "x", "f0", "f012", "faB", "Fab", "baaahszltebwwc3tjeaq", "caaahszltebwwc3tjeaqq", "MeWVzIG1hbmkgIQ=",
             "meWVzIG1hbmkgIQ==", "mAB", "k-", "K0a", "Qm"]
)  # fmt: skip
def test_what_no_encoder_writes_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode_multibase(text)


@pytest.mark.parametrize("base", BASES)
def test_a_cid_is_read_in_every_base(base: str) -> None:
    for cid in (Cid.of_raw(b"hello"), Cid.of_block(0x70, b"\x0a\x00")):
        text = multibase.encode(bytes(cid), base)
        assert Cid.parse(text) == cid


def test_a_program_runs_by_its_cid_in_any_form(tmp_path: Path) -> None:
    program = write(tmp_path / "app.wasm", assemble('(module (func (export "_start")))'))
    cid = Cid.of_raw(program.read_bytes())
    assert call(tmp_path / "home", "publish", program).status == 0
    for text in (f"/ipfs/{cid}", str(cid).upper(), multibase.encode(bytes(cid), "base36"), f"f{bytes(cid).hex()}",
                 f"ipfs://ipfs/{cid}", f"dweb:/ipfs/{cid}"):  # fmt: skip
        assert call(tmp_path / "home", "run", text).status == 0
        assert call(tmp_path / "home", "inspect", text).status == 0


@pytest.mark.parametrize("base", ["base64", "base64pad"])
def test_a_cid_whose_base_has_the_slash_is_no_path(base: str) -> None:
    cid = next(cid for cid in map(Cid.of_raw, map(bytes, range(100))) if "/" in multibase.encode(bytes(cid), base))
    text = multibase.encode(bytes(cid), base)
    assert parse_ref(text) == parse_ref(f"/ipfs/{text}") == parse_ref(f"ipfs://{text}") == CidRef(cid)
    assert parse_ref(f"{text}/a/b") == CidRef(cid, ("a", "b"))
    assert parse_ref("m/b/c.wasm") == PathRef(Path("m/b/c.wasm"))
