"""References: what is a path, what a CID, what neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, PathRef, UrlRef, parse_ref
from bacpack.errors import InputError

CID = Cid.of_raw(b"hello world")
OLD = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("app.wasm", PathRef(Path("app.wasm"))),
        ("out/app.wasm", PathRef(Path("out/app.wasm"))),
        ("/tmp/x.car", PathRef(Path("/tmp/x.car"))),
        (".", PathRef(Path())),
        ("-", PathRef(Path("-"))),
        ("bafy", PathRef(Path("bafy"))),
        (f"{CID}.wasm", PathRef(Path(f"{CID}.wasm"))),
        (f"modules/{CID}.wasm", PathRef(Path(f"modules/{CID}.wasm"))),
        (f"./{CID}", PathRef(Path(str(CID)))),
        (str(CID), CidRef(CID)),
        (f"{CID}/", CidRef(CID)),
        (f"{CID}/modules/x.wasm", CidRef(CID, ("modules", "x.wasm"))),
        (f"{CID}//a", CidRef(CID, ("a",))),
        (OLD, CidRef(Cid.parse(OLD))),
        (f"ipfs://{CID}", CidRef(CID)),
        (f"IPFS://{CID}/a%20b/c", CidRef(CID, ("a b", "c"))),
        (f"/ipfs/{CID}", CidRef(CID)),
        (f"/ipfs/{CID}/a%20b/c", CidRef(CID, ("a%20b", "c"))),
        (f"/ipfs/{OLD}/x", CidRef(Cid.parse(OLD), ("x",))),
        (f"ipfs://ipfs/{CID}/x", CidRef(CID, ("x",))),
        (f"ipfs:/ipfs/{CID}", CidRef(CID)),
        (f"dweb:/ipfs/{CID}/a%20b", CidRef(CID, ("a b",))),
        (f"dweb://ipfs/{CID}", CidRef(CID)),
        (f"dweb:///ipfs/{CID}", CidRef(CID)),
        (f"web+ipfs://{CID}", CidRef(CID)),
        (str(CID).upper(), CidRef(CID)),
        ("f" + bytes(CID).hex() + "/x", CidRef(CID, ("x",))),
        ("/ipfs/F" + bytes(CID).hex().upper(), CidRef(CID)),
        ("./ipfs/x", PathRef(Path("ipfs/x"))),
        ("/ipfs", PathRef(Path("/ipfs"))),
        ("cat.wasm", PathRef(Path("cat.wasm"))),
        ("http://127.0.0.1:80/x", UrlRef("http://127.0.0.1:80/x")),
        ("HTTPS://example.org/a?b#c", UrlRef("HTTPS://example.org/a?b#c")),
    ],
)
def test_references(text: str, ref: object) -> None:
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-ref"),
        ("a\0b", "bad-ref"),
        ("ftp://example.org/x", "bad-ref"),
        ("ipns://example.org", "bad-ref"),
        ("/ipns/example.org/x", "bad-ref"),
        ("dweb:/ipns/example.org", "bad-ref"),
        ("/ipfs/", "bad-cid"),
        ("/ipfs/example.org", "bad-cid"),
        (f"/ipfs/{CID}/..", "bad-ref"),
        (f"dweb:/ipfs/{CID}?x", "bad-ref"),
        (str(CID).upper()[:-1], "bad-cid"),
        ("ipfs://", "bad-ref"),
        ("https://", "bad-ref"),
        (f"ipfs://{CID}?x=1", "bad-ref"),
        (f"{CID}/../x", "bad-ref"),
        (f"{CID}/a/./b", "bad-ref"),
        ("ipfs://nothing", "bad-cid"),
        (str(CID)[:-1], "bad-cid"),
        (f"{str(CID)[:-1]}b/x", "bad-cid"),
        (OLD[:-1] + "0", "bad-cid"),
    ],
)
def test_what_is_no_reference(text: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_ref(text)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_file_whose_name_looks_like_a_cid_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = str(CID)[:-1]
    Path(name).touch()
    assert parse_ref(name) == PathRef(Path(name))


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        ref = parse_ref(text)
    except InputError:
        return
    assert parse_ref(str(ref)) == ref
