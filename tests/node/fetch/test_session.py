"""Fetching over HTTP: nothing that a server says is believed without being checked."""

from __future__ import annotations

import socket

import pytest

from bacnode.fetch.session import Web
from bacpack.content.cid.block import MAX_BLOCK_BYTES, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.errors import BacpackError, CheckFailedError, InputError, UnreachableError
from node.harness import PLENTY
from node.server import Answer, FileServer

BODY = b"some bytes"
CID = Cid.of_raw(BODY)


def refused(web: Web, url: str, max_bytes: int = PLENTY) -> BacpackError:
    with pytest.raises(BacpackError) as raised:
        web.get(url, max_bytes)
    assert url in raised.value.message
    assert raised.value.hint
    return raised.value


@pytest.fixture
def web() -> Web:
    return Web(allow_private=True)


def test_a_url_gives_its_bytes(web: Web, server: FileServer) -> None:
    assert web.get(server.put("/a.wasm", BODY), len(BODY)) == BODY
    ((_, headers),) = server.requests
    assert headers["Host"] == server.url.removeprefix("http://")
    assert headers["Accept-Encoding"] == "identity"


def test_an_address_that_is_not_public_is_refused_before_anything_is_sent(server: FileServer) -> None:
    error = refused(Web(), server.put("/a.wasm", BODY))
    assert (error.code, error.exit_status) == ("url-private", 3)
    assert server.requests == []


def test_a_name_of_an_address_that_is_not_public_is_refused(server: FileServer) -> None:
    url = server.put("/a.wasm", BODY).replace("127.0.0.1", "localhost")
    assert refused(Web(), url).code == "url-private"


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses; return the names that are looked up."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_with_an_address_that_is_not_public_among_others_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: FileServer
) -> None:
    resolves_to(monkeypatch, "93.184.216.34", "127.0.0.1")
    url = server.put("/a.wasm", BODY).replace("127.0.0.1", "public.example")
    assert refused(Web(), url).code == "url-private"
    assert server.requests == []


def test_every_address_of_a_name_is_tried_and_the_name_looked_up_once(
    monkeypatch: pytest.MonkeyPatch, server: FileServer
) -> None:
    url = server.put("/a.wasm", BODY).replace("127.0.0.1", "node.example")
    server.put("/b.wasm", BODY)
    # The connection itself must not look the name up.
    connect, connected = socket.create_connection, []

    def create_connection(address: tuple[str, int], *more: object, **named: object) -> socket.socket:
        connected.append(address[0])
        if address[0] == "127.0.0.2":
            raise ConnectionRefusedError("nobody is here")
        monkeypatch.undo()
        return connect(address, *more, **named)  # type: ignore[arg-type]

    asked = resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    monkeypatch.setattr(socket, "create_connection", create_connection)
    web = Web(allow_private=True)
    assert web.get(url, PLENTY) == BODY
    assert web.get(url.replace("/a", "/b"), PLENTY) == BODY
    assert (asked, connected) == (["node.example"], ["127.0.0.2", "127.0.0.1"])
    assert server.requests[0][1]["Host"] == url.removeprefix("http://").removesuffix("/a.wasm")


def test_what_a_person_typed_may_be_at_any_address(server: FileServer) -> None:
    assert Web().get(server.put("/a.wasm", BODY), PLENTY, named_by_user=True) == BODY


def test_a_missing_page_is_refused_with_its_status(web: Web, server: FileServer) -> None:
    error = refused(web, server.url + "/nothing")
    assert (error.code, error.exit_status) == ("url-failed", 3)
    assert "404" in error.message


def test_a_body_stated_larger_than_the_limit_is_refused(web: Web, server: FileServer) -> None:
    error = refused(web, server.put("/a.wasm", BODY), len(BODY) - 1)
    assert isinstance(error, InputError)
    assert error.details["bytes"] == len(BODY)


def test_a_body_that_does_not_state_its_size_is_read_up_to_the_limit(web: Web, server: FileServer) -> None:
    server.answers["/a.wasm"] = Answer(BODY, sized=False)
    assert web.get(server.url + "/a.wasm", len(BODY)) == BODY
    assert refused(web, server.url + "/a.wasm", len(BODY) - 1).code == "too-large"


def test_a_compressed_body_is_refused(web: Web, server: FileServer) -> None:
    server.answers["/a.wasm"] = Answer(BODY, headers={"Content-Encoding": "gzip"})
    assert "compresses" in refused(web, server.url + "/a.wasm").message


def test_a_server_that_is_not_there_is_said(web: Web) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert refused(web, f"http://127.0.0.1:{port}/a.wasm").code == "url-failed"


@pytest.mark.parametrize("url", ["http://[::1/a.wasm", "http:///a.wasm", "ftp://example.org/a"])
def test_a_malformed_url_is_said(web: Web, url: str) -> None:
    assert refused(web, url).code == "url-failed"


def test_a_name_without_address_is_said(web: Web) -> None:
    assert refused(web, "http://nowhere.invalid/a.wasm").code == "url-failed"


def test_offline_reaches_nothing(server: FileServer) -> None:
    web = Web([server.url], offline=True, allow_private=True)
    assert refused(web, server.put("/a.wasm", BODY)).code == "offline"
    assert web.peers == []
    assert server.requests == []


def test_a_peer_gives_blocks(server: FileServer) -> None:
    server.put_block(str(CID), BODY)
    (peer,) = Web([server.url + "/"]).peers
    found = peer.read(CID, PLENTY)
    assert (found.data, found.kind, found.origin) == (BODY, "peer", server.url)
    ((_, headers),) = server.requests
    assert headers["Accept"] == "application/vnd.ipld.raw"


def test_a_peer_without_the_block_is_a_miss(server: FileServer) -> None:
    (peer,) = Web([server.url]).peers
    with pytest.raises(MissingBlockError):
        peer.get(CID)


def test_a_peer_that_sends_other_bytes_is_refused(server: FileServer) -> None:
    server.put_block(str(CID), b"other bytes")
    (peer,) = Web([server.url]).peers
    with pytest.raises(CheckFailedError) as raised:
        peer.get(CID)
    assert raised.value.code == "block-mismatch"
    assert str(CID) in raised.value.message and str(Cid.of_raw(b"other bytes")) in raised.value.message
    assert server.url in raised.value.message


def test_a_peers_block_larger_than_blocks_may_be_is_refused(server: FileServer) -> None:
    large = bytes(MAX_BLOCK_BYTES + 1)
    cid = Cid.of_raw(large)
    server.put_block(str(cid), large)
    (peer,) = Web([server.url]).peers
    with pytest.raises(UnreachableError) as raised:
        peer.get(cid)
    assert raised.value.code == "url-failed"
    assert str(MAX_BLOCK_BYTES) in raised.value.message


def test_a_peer_in_trouble_is_unreachable(server: FileServer) -> None:
    server.answers[f"/ipfs/{CID}?format=raw"] = Answer(status=500)
    (peer,) = Web([server.url]).peers
    with pytest.raises(UnreachableError) as raised:
        peer.get(CID)
    assert raised.value.code == "url-failed"
