"""HTTPS: the address is the one that was checked, and the certificate is still that of the name."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509

from bacnode.fetch.session import Web
from bacpack.errors import UnreachableError
from serving import Quiet, Serving


class Host(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"to {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def certificate(folder: Path, name: str) -> Path:
    """A certificate for `name`, which vouches for itself, with its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that is `localhost`, whose certificate is trusted."""
    path = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with Serving(Host, context) as server:
        yield server.port


def test_a_certificate_is_compared_with_the_name_and_not_the_address(port: int) -> None:
    url = f"https://localhost:{port}/"
    assert Web(allow_private=True).get(url, 100) == f"to localhost:{port}".encode()


def test_a_certificate_of_another_name_is_refused(port: int) -> None:
    with pytest.raises(UnreachableError) as raised:
        Web(allow_private=True).get(f"https://127.0.0.1:{port}/", 100)
    assert raised.value.code == "url-failed" and "certificate" in raised.value.message


def test_a_certificate_that_nobody_vouches_for_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UnreachableError) as raised:
        Web(allow_private=True).get(f"https://localhost:{port}/", 100)
    assert raised.value.code == "url-failed" and "certificate" in raised.value.message


def test_a_connection_to_one_name_is_not_used_for_another_at_its_address(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: look_up("127.0.0.1", *more, **named))
    web = Web(allow_private=True)
    assert web.get(f"https://localhost:{port}/", 100)
    with pytest.raises(UnreachableError) as raised:
        web.get(f"https://other.example:{port}/", 100)
    assert "certificate" in raised.value.message
