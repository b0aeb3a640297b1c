"""Redirects: a few, to addresses that the first one could have been."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacnode.fetch.session import Web
from bacpack.content.car.writer import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.errors import UnreachableError
from bacpack.http_client.redirects import MAX_HOPS, next_hop
from inprocess import call
from node.fetch.test_session import BODY, CID, refused, web
from node.harness import PLENTY
from node.server import Answer, FileServer

__all__ = ["web"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_few_redirects_are_followed(web: Web, server: FileServer, status: int) -> None:
    server.put("/a.wasm", BODY)
    for number in range(MAX_HOPS):
        location = f"{server.url}/{number - 1}" if number else "a.wasm#part"
        server.answers[f"/{number}"] = Answer(status=status, headers={"location": location})
    assert web.get(f"{server.url}/{MAX_HOPS - 1}", PLENTY) == BODY
    server.answers["/more"] = Answer(status=status, headers={"Location": f"/{MAX_HOPS - 1}"})
    error = refused(web, server.url + "/more")
    assert (error.code, "leads on more than 5 times" in error.message) == ("url-failed", True)
    server.answers["/round"] = Answer(status=status, headers={"Location": "/round"})
    assert "leads on more than" in refused(web, server.url + "/round").message


def test_a_redirect_is_checked_as_the_first_address_was(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person typed may lead on to itself; a public address leads to no other that is not."""
    server.put("/a.wasm", BODY)
    port = server.url.rpartition(":")[2]
    server.answers["/here"] = Answer(status=302, headers={"Location": f"http://cid.ipfs.localhost:{port}/a.wasm"})
    server.answers["/there"] = Answer(status=302, headers={"Location": "http://10.1.2.3/a.wasm"})
    server.answers["/cloud"] = Answer(status=302, headers={"Location": "http://169.254.169.254/latest"})
    web = Web()
    assert web.get(f"http://localhost:{port}/here", PLENTY, named_by_user=True) == BODY
    for path in ("/there", "/cloud"):
        with pytest.raises(UnreachableError) as caught:
            web.get(server.url + path, PLENTY, named_by_user=True)
        assert caught.value.code == "url-private"
    assert refused(web, f"{server.url}/here").code == "url-private"
    assert next_hop("GET", "http://example.org/a", 302, "//127.0.0.1/") == "http://127.0.0.1/"


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://example.org/a", "http://example.org/b"),
        ("http://example.org/a", "file:///etc/passwd"),
        ("http://example.org/a", "ftp://example.org/b"),
        ("http://example.org/a", "http://user:secret@example.org/b"),
    ],
)
def test_redirects_that_lead_nowhere(url: str, location: str) -> None:
    with pytest.raises(ValueError, match="leads") as caught:
        next_hop("GET", url, 302, location)
    assert "secret" not in str(caught.value)


def test_only_what_is_asked_for_is_asked_elsewhere() -> None:
    assert next_hop("POST", "http://example.org/a", 307, "/b") is None
    assert next_hop("GET", "http://example.org/a", 304, "/b") is None
    assert next_hop("GET", "http://example.org/a", 302, "") is None
    assert next_hop("GET", "https://example.org/a", 302, "//other.example/b") == "https://other.example/b"


def test_a_car_file_is_fetched_where_its_url_leads(server: FileServer, tmp_path: Path) -> None:
    """As a file of a release on GitHub, and a block of a Kubo that gives each CID a host name."""
    server.put("/signed/x.car", b"".join(car_chunks([CID], [(CID, BODY)])))
    server.answers["/x.car"] = Answer(status=302, headers={"Location": f"{server.url}/signed/x.car"})
    assert call(tmp_path / "home", "fetch", f"{server.url}/x.car").status == 0
    other = Cid.of_raw(b"another")
    port = server.url.rpartition(":")[2]
    server.answers["/?format=raw"] = Answer(b"another")
    for query in ("format=raw", "format=car&dag-scope=all"):
        location = f"http://{other}.ipfs.localhost:{port}/?format=raw"
        server.answers[f"/ipfs/{other}?{query}"] = Answer(status=301, headers={"Location": location})
    done = call(tmp_path / "home", "fetch", other, "--gateway", f"http://localhost:{port}")
    assert done.status == 0, done.stderr


@pytest.mark.parametrize("status", [300, 304, 302])
def test_an_answer_without_an_address_leads_to_none(web: Web, server: FileServer, status: int) -> None:
    server.answers["/nowhere"] = Answer(status=status)
    assert refused(web, f"{server.url}/nowhere").message.endswith(f"the server answers {status}")
