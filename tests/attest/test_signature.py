"""Signatures, by ours and by others' programs; and each way in which one does not hold."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from attest.harness import Keys, envelope, replace_file, signature
from bacpack.attest.dsse import PAYLOAD_TYPE, pae
from bacpack.installed import line_for_extra
from content.harness import Bacpack


@pytest.fixture
def signed(bacpack: Bacpack, blobs: list[Path], keys: Keys, tmp_path: Path) -> Path:
    bacpack.ok("split", *blobs, "-o", tmp_path / "out", "--key", keys["own"])
    return tmp_path / "out"


def openssl_accepts(public: Path, message: bytes, signed: bytes, folder: Path) -> bool:
    (folder / "message").write_bytes(message)
    (folder / "signature").write_bytes(signed)
    line = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", folder / "message"]
    return subprocess.run([*line, "-sigfile", folder / "signature"], capture_output=True, check=False).returncode == 0


def test_the_encoding_is_that_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_openssl_accepts_the_signature(signed: Path, keys: Keys, tmp_path: Path) -> None:
    statement = (signed / "provenance.json").read_bytes()
    assert base64.b64decode(envelope(signed)["payload"]) == statement
    message = pae(PAYLOAD_TYPE, statement)
    assert openssl_accepts(keys["own.pub"], message, signature(signed), tmp_path)
    assert not openssl_accepts(keys["other.pub"], message, signature(signed), tmp_path)
    assert not openssl_accepts(keys["own.pub"], message + b" ", signature(signed), tmp_path)


def test_securesystemslib_accepts_the_envelope(signed: Path, keys: Keys) -> None:
    read = Envelope.from_dict(envelope(signed))
    own, other = (
        SSlibKey.from_crypto(load_pem_public_key(keys[f"{name}.pub"].read_bytes()), keyid=read_id(signed))
        for name in ("own", "other")
    )
    assert read.verify([own], 1)
    with pytest.raises(VerificationError):
        read.verify([other], 1)


def read_id(folder: Path) -> str:
    name: str = envelope(folder)["signatures"][0]["keyid"]
    return name


def test_openssl_signs_what_is_accepted_here(bacpack: Bacpack, signed: Path, keys: Keys, tmp_path: Path) -> None:
    """Signed by other means, base64 for URLs and without a key's name, as the specification allows."""
    (tmp_path / "message").write_bytes(pae(PAYLOAD_TYPE, (signed / "provenance.json").read_bytes()))
    line = ["openssl", "pkeyutl", "-sign", "-inkey", keys["other"], "-rawin", "-in", tmp_path / "message"]
    made = subprocess.run(line, capture_output=True, check=True).stdout
    sealed = envelope(signed)
    first = sealed["signatures"][0]
    sealed["signatures"] = [first, {"sig": base64.urlsafe_b64encode(made).decode()}]
    replace_file(signed, "provenance.dsse.json", json.dumps(sealed).encode())
    for name in ("own", "other"):
        assert bacpack.ok("verify", signed, "--key", keys[f"{name}.pub"])["ok"]


def test_the_owner_of_the_key_is_named(bacpack: Bacpack, signed: Path, keys: Keys) -> None:
    assert bacpack.ok("verify", signed, "--key", keys["own.pub"])["signed_by"] == read_id(signed)
    assert "signed_by" not in bacpack.ok("verify", signed)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", keys["own.pub"], "-outform", "DER"], capture_output=True, check=True
    ).stdout
    line = ["openssl", "dgst", "-sha256", "-r"]
    assert subprocess.run(line, input=der, capture_output=True, check=True).stdout.decode().split()[0] == read_id(
        signed
    )


def test_another_key_is_told_apart_from_a_changed_statement(bacpack: Bacpack, signed: Path, keys: Keys) -> None:
    error = bacpack.fails(1, "bad-signature", "verify", signed, "--key", keys["other.pub"])
    assert f"it is signed by {read_id(signed)}, and not by this key" in error["message"]
    sealed = envelope(signed)
    statement = (signed / "provenance.json").read_bytes()
    changed = statement.replace(b"urn:bacpack:builder:local", b"https://trusted.example/b")
    sealed["payload"] = base64.b64encode(changed).decode()
    replace_file(signed, "provenance.dsse.json", json.dumps(sealed).encode())
    replace_file(signed, "provenance.json", changed)
    assert bacpack.ok("verify", signed)["ok"]  # nothing but the signature tells
    error = bacpack.fails(1, "bad-signature", "verify", signed, "--key", keys["own.pub"])
    assert "was changed afterwards" in error["message"]


def test_a_signature_of_another_release_does_not_help(
    bacpack: Bacpack, blobs: list[Path], signed: Path, keys: Keys, tmp_path: Path
) -> None:
    blobs[0].rename(blobs[0].with_name("third.wasm"))
    other = tmp_path / "other"
    bacpack.ok("split", blobs[1], blobs[0].with_name("third.wasm"), "-o", other, "--key", keys["other"])
    # The envelope alone: it is of another statement. With its statement: that is of other programs.
    for name in ("provenance.dsse.json", "provenance.json"):
        replace_file(other, name, (signed / name).read_bytes())
        error = bacpack.fails(1, "provenance-mismatch", "verify", other, "--key", keys["own.pub"])
    assert "`first.wasm`" in error["message"]
    bacpack.fails(1, "provenance-mismatch", "verify", other)


def test_a_program_that_was_changed_with_the_manifest_is_noticed(bacpack: Bacpack, signed: Path, keys: Keys) -> None:
    data = (signed / "first.wasm").read_bytes() + b"\0\5\4more"
    manifest = json.loads((signed / "bacpack.json").read_bytes())
    replace_app(signed, manifest, data)
    error = bacpack.fails(1, "provenance-mismatch", "verify", signed, "--key", keys["own.pub"])
    assert "`first.wasm`" in error["message"]


def replace_app(folder: Path, manifest: dict[str, list[dict[str, object]]], data: bytes) -> None:
    from bacpack.content.unixfs.writer import cid_of_bytes

    (folder / "first.wasm").write_bytes(data)
    manifest["apps"][0] |= {"cid": str(cid_of_bytes(data)), "bytes": len(data)}
    (folder / "bacpack.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "sealed", [b"", b"[]", b"{}", b'{"payload":"!","payloadType":"","signatures":[]}', b'{"payload":1}', b"\xff",
               b'{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[]}',
               b'{"payload":"","payloadType":"text/plain","signatures":[]}'],
)  # fmt: skip
def test_what_is_no_envelope_holds_nothing(bacpack: Bacpack, signed: Path, keys: Keys, sealed: bytes) -> None:
    replace_file(signed, "provenance.dsse.json", sealed)
    bacpack.fails(1, "bad-signature", "verify", signed, "--key", keys["own.pub"])


def test_an_unsigned_release_is_told_apart(bacpack: Bacpack, blobs: list[Path], keys: Keys, tmp_path: Path) -> None:
    bacpack.ok("split", *blobs, "-o", tmp_path / "out")
    bacpack.fails(1, "unsigned", "verify", tmp_path / "out", "--key", keys["own.pub"])
    bacpack.fails(2, "usage", "verify", blobs[0], "--key", keys["own.pub"])


def test_keys_that_cannot_be_used(
    bacpack: Bacpack, blobs: list[Path], keys: Keys, signed: Path, tmp_path: Path
) -> None:
    rsa, locked, nothing = tmp_path / "rsa.pem", tmp_path / "locked.pem", tmp_path / "nothing.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-quiet", "-out", rsa], check=True)
    line = ["openssl", "pkey", "-in", keys["own"], "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(line, check=True)
    nothing.write_text("no key")
    for key in (rsa, locked, nothing, keys["own.pub"]):
        bacpack.fails(2, "bad-key", "split", *blobs, "-o", tmp_path / "new", "--key", key)
    for key in (rsa, nothing, keys["own"]):
        bacpack.fails(2, "bad-key", "verify", signed, "--key", key)
    bacpack.fails(2, "not-found", "split", *blobs, "-o", tmp_path / "new", "--key", tmp_path / "none.pem")
    assert not (tmp_path / "new").exists()


def test_without_the_package_it_says_what_to_install(blobs: list[Path], keys: Keys, tmp_path: Path) -> None:
    """Splitting needs no key and no package."""
    script = "import sys; sys.modules['cryptography'] = None; from bacpack.cli import main; main(sys.argv[1:])"
    line = [sys.executable, "-c", script, "split", *map(str, blobs), "-o", str(tmp_path / "out")]
    assert subprocess.run(line, capture_output=True, check=False).returncode == 0
    done = subprocess.run([*line, "--key", str(keys["own"])], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error[no-cryptography]" in done.stderr
    assert f"hint: {line_for_extra('sign')}" in done.stderr
