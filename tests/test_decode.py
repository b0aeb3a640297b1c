"""Whatever is wrong with what others wrote is an error of ours, with a code: wherever it is read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from attest.conftest import blobs, keys
from attest.harness import Keys, replace_file
from bacpack.decode import DecodeError, decode_json, decode_msgpack, decode_toml
from inprocess import call

__all__ = ["blobs", "keys"]

SOURCES = [Path(__file__).parents[1] / folder for folder in ("toolchain", "node")]
DEEP = b"[" * 100_000 + b"]" * 100_000


def deep(data: bytes) -> bytes:
    """A JSON object with one field more, of a hundred thousand levels."""
    return b'{"x": ' + DEEP + b"," + data.lstrip()[1:]


def not_utf8(data: bytes) -> bytes:
    return re.sub(rb'(: ?")', b"\\1\xff", data)


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        *((decode_json, data) for data in (b"", DEEP, b'{"a":' * 100_000, b'"\xff"', b"\xff", b"NaN", b"9" * 5000)),
        *((decode_msgpack, data) for data in (b"", b"\x91" * 100_000, b"\xa1\xff", b"\xc1", b"\xdd\xff\xff\xff\xff")),
        *((decode_toml, data) for data in (b"a=" + DEEP, b"a=" + b"{a=" * 10_000, b"\xff", b"a=" + b"9" * 5000)),
        (decode_toml, b"a = 2020-13-45"),
    ],
)
def test_what_cannot_be_read_is_one_error(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert str(caught.value) and "codec" not in str(caught.value)


def test_nothing_reads_such_formats_in_another_way() -> None:
    """The readers of messages between our own processes are all that may."""
    own = {"decode.py", "database.py", "worker_main.py", "peer_book.py", "ci.py"}
    readers = re.compile(r"\bjson\.loads?\(|json\.decode\(|msgpack\.decode\(|tomllib\.|\.json\(\)")
    found = [path for folder in SOURCES for path in folder.rglob("*.py") if readers.search(path.read_text())]
    assert {path.name for path in found} == own, found


@pytest.mark.parametrize("spoil", [deep, not_utf8])
def test_a_release_that_cannot_be_read_is_an_error_of_every_command(
    blobs: list[Path], keys: Keys, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    home, whole, out = tmp_path / "home", tmp_path / "whole", tmp_path / "out"
    assert call(home, "split", *blobs, "-o", whole, "--key", keys["own"]).status == 0

    def fails(code: str, *arguments: object) -> None:
        done = call(home, *arguments, "--json")
        error = json.loads(done.stdout)["error"]
        assert (error["code"], done.status > 0, bool(error["hint"])) == (code, True, True), error
        assert "Error(" not in error["message"]

    def spoiled(name: str, *, listed: bool = False) -> Path:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        data = spoil((whole / name).read_bytes())
        if listed:
            replace_file(out, name, data)
        else:
            (out / name).write_bytes(data)
        return out

    for command in ("inspect", "verify", "publish"):
        fails("bad-manifest", command, spoiled("bacpack.json"))
    fails("bad-manifest", "pack", out, "-o", tmp_path / "out.car")
    fails("no-catalog", "split", *blobs, "-o", tmp_path / "next", "--catalog", spoiled("catalog/catalog.json"))
    fails("provenance-mismatch", "verify", spoiled("provenance.json", listed=True))
    fails("bad-signature", "verify", spoiled("provenance.dsse.json", listed=True), "--key", keys["own.pub"])


def test_an_envelope_of_another_form_is_told_in_plain_words(blobs: list[Path], keys: Keys, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    assert call(home, "split", *blobs, "-o", out, "--key", keys["own"]).status == 0
    for envelope in (b'{"payload": "", "payloadType": "", "signatures": ["x"]}', b"[]", b'{"payload": 1}'):
        replace_file(out, "provenance.dsse.json", envelope)
        done = call(home, "verify", out, "--key", keys["own.pub"])
        assert done.stderr.startswith("error[bad-signature]: ") and "Error(" not in done.stderr, done.stderr


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "9" * 5000, "\udcff"])
def test_a_configuration_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "bacpack.toml").write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.chdir(tmp_path)
    done = call(tmp_path / "home", "publish", ".", "--json")
    assert (done.status, json.loads(done.stdout)["error"]["code"]) == (2, "bad-config")
