"""The one HTTP client: what it sends, how long it waits, where it connects to, and how much it believes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from bacpack.errors import UnreachableError
from bacpack.http_client import Cancel, HttpClient, RequestError, RequestPolicy
from bacpack.http_client.redirects import parse_url
from publish.stand import Cut, Reply, Request, Stand, Wire
from waiting import PATIENCE, joined


class Echo(Stand):
    """Answers with what it was sent, and with trailers to those who ask for them."""

    def reply(self, request: Request) -> Reply:
        if request.path == "/trailers":
            return Reply(200, request.body, trailers={"X-Stream-Error": "it failed midway", "X-Other": "a"})
        if request.path == "/looks-like-trailers":
            return Reply(200, b"\r\n0\r\nX-Stream-Error: not a trailer\r\n\r\n")
        return Reply(200, request.body)


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as stand:
        yield stand


@pytest.fixture
def client() -> Iterator[HttpClient]:
    with closing(HttpClient(policy=RequestPolicy(connect=5))) as opened:
        yield opened


def ask(client: HttpClient, method: str, url: str, body: bytes | Iterator[bytes] | None = None) -> bytes:
    with client.open(method, url, body=body, any_address=True) as answer:
        return answer.read(1 << 20)


def test_a_body_is_sent_with_its_length_and_one_that_is_being_made_in_chunks(server: Echo, client: HttpClient) -> None:
    assert ask(client, "POST", server.url, b"known") == b"known"
    assert ask(client, "PUT", server.url, iter([b"made ", b"", b"in parts"])) == b"made in parts"
    assert ask(client, "POST", server.url) == b""
    lengths = [(one.headers.get("content-length"), one.headers.get("transfer-encoding")) for one in server.requests]
    assert lengths == [("5", None), (None, "chunked"), ("0", None)]


def test_trailers_are_those_of_this_answer(server: Echo, client: HttpClient) -> None:
    for path, said in (("/trailers", "it failed midway"), ("/looks-like-trailers", ""), ("/plain", "")):
        with client.open("POST", server.url + path, body=b"x", any_address=True) as answer:
            answer.read(1 << 20)
            assert answer.trailer("x-stream-error") == said
    assert len({one.headers["host"] for one in server.requests}) == 1


def test_an_answer_that_drips_ends_with_the_time_of_the_whole(server: Echo, client: HttpClient) -> None:
    server.first = [("/slow", Reply(200, b"x" * 10_000))]
    with Wire(server.port, always=Cut(drip=True)) as wire:
        started = time.monotonic()
        with (
            pytest.raises(RequestError, match="time for all of the work is over"),
            client.open("GET", f"{wire.url}/slow", any_address=True, until=started + 0.5) as answer,
        ):
            answer.read(1 << 20)
        assert time.monotonic() - started < PATIENCE / 2


def test_a_request_within_another_leaves_its_time_limit_as_it_is(server: Echo, client: HttpClient) -> None:
    """Where nothing comes any more, the connection itself must know it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stall() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=stall)
        thread.start()
        started = time.monotonic()
        with (
            pytest.raises(RequestError, match="time for all of the work is over"),
            client.open(
                "GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", any_address=True, until=started + 1
            ) as answer,
        ):
            assert ask(client, "POST", server.url, b"meanwhile") == b"meanwhile"
            answer.read(1 << 20)
        assert time.monotonic() - started < client.policy.idle / 2
        joined(thread, "the server ends")


def test_another_thread_ends_a_request_that_waits(client: HttpClient) -> None:
    cancel, listener = Cancel(), socket.create_server(("127.0.0.1", 0))
    failed: list[RequestError] = []

    def wait() -> None:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(RequestError) as raised, client.open("GET", url, any_address=True, cancel=cancel):
            pass
        failed.append(raised.value)

    with listener:
        thread = threading.Thread(target=wait)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100).startswith(b"GET / HTTP/1.1\r\n")
            cancel.cancel()
            joined(thread, "the request ends")
    assert "broke off" in failed[0].reason


def test_a_request_that_reached_nobody_says_so(server: Echo, client: HttpClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(RequestError) as raised:
            ask(client, "POST", url, b"x")
    assert (raised.value.sent, raised.value.again) == (False, True)
    with Wire(server.port, [Cut(down=0)]) as wire, pytest.raises(RequestError) as raised:
        ask(client, "POST", wire.url, b"x")
    assert (raised.value.sent, raised.value.again) == (True, True)


def test_a_name_is_looked_up_again_where_nobody_was_found(
    server: Echo, monkeypatch: pytest.MonkeyPatch, client: HttpClient
) -> None:
    found, look_up = iter(["127.0.0.2", "127.0.0.1"]), socket.getaddrinfo

    def moved(host: str, *more: int, **named: int) -> list[object]:
        return list(look_up(next(found) if host == "moves.example" else host, *more, **named))

    monkeypatch.setattr(socket, "getaddrinfo", moved)
    url = f"http://moves.example:{server.port}/"
    with pytest.raises(RequestError, match="cannot be connected to"):
        ask(client, "POST", url, b"x")
    assert ask(client, "POST", url, b"here") == b"here"


def test_an_answer_that_leads_on_is_the_answer_to_who_does_not_follow(server: Echo, client: HttpClient) -> None:
    server.first = [("/away", Reply(302, headers={"Location": f"{server.url}/other"}))]
    with client.open(
        "GET", f"{server.url}/away", {"Authorization": "Bearer x"}, any_address=True, follow=False
    ) as answer:
        assert answer.status == 302
        with pytest.raises(RequestError, match="leads to another address, where it is not followed"):
            answer.check()
    assert [one.path for one in server.requests] == ["/away"]


def test_what_a_stranger_names_is_not_asked_at_a_private_address(server: Echo, client: HttpClient) -> None:
    with pytest.raises(UnreachableError) as raised, client.open("POST", server.url, body=b"x"):
        pass
    assert raised.value.code == "url-private"
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "host", "authority", "target"),
    [
        ("http://H.Example", "h.example", "h.example", "/"),
        ("http://h.example:80/a?b#c", "h.example", "h.example", "/a?b"),
        ("https://h.example:80/", "h.example", "h.example:80", "/"),
        ("http://[::1]:8000/a b", "::1", "[::1]:8000", "/a%20b"),
        ("http://bücher.example/ü?ä=%41", "xn--bcher-kva.example", "xn--bcher-kva.example", "/%C3%BC?%C3%A4=%41"),
        ("http://user:secret@h.example/", "h.example", "h.example", "/"),
        ("http://h/ipfs/x?format=car&dag-scope=all", "h", "h", "/ipfs/x?format=car&dag-scope=all"),
    ],
)  # fmt: skip
def test_a_url_is_asked_for_as_it_is_written(url: str, host: str, authority: str, target: str) -> None:
    parsed = parse_url(url)
    assert (parsed.host, parsed.authority, parsed.target) == (host, authority, target)


@pytest.mark.parametrize(
    "url",
    [
        "http://a b/", "http://a\\b/", "http://a\x00b/", "http://h/\r\nHost: other", "http://[::1/", "http://h:99999/",
        "http://h:x/", "file:///a", "http:///a", "http://stra\N{LATIN SMALL LETTER SHARP S}e.example/", "http://[::zz]/",
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused(url: str, client: HttpClient) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_url(url)
    with pytest.raises(RequestError) as raised, client.open("GET", url):
        pass
    assert (raised.value.code, raised.value.sent) == ("url-failed", False)
