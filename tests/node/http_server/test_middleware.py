"""What every request passes first: how often a client may come, what it calls the node, and what is logged of it."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacnode.app.app import create_app
from bacnode.http_server.host_check import Hosts, host_of, own_names
from bacnode.http_server.rate_limit import MAX_CLIENTS, Rates, client_of
from bacnode.node_state import open_node
from node.jobs.harness import JobNode
from node.serving import Answer, Node

EVIL = "rebound.example.org"
ABSENT = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku?format=raw"


@pytest.mark.parametrize(
    "path", ["/", "/login", "/jobs", "/static/live.js", "/api/v1/node", "/api/v1/jobs", "/api/v1/pins", "/metrics"]
)
def test_a_page_that_gave_this_machine_its_own_name_learns_nothing(served: Node, path: str) -> None:
    for host in (EVIL, f"{EVIL}:{served.port}", "127.0.0.1.evil.example", ""):
        answer = served.get(path, Host=host)
        assert (answer.status, answer.code) == (421, "wrong-host"), host
        assert served.peer_id.encode() not in answer.body
    for host in ("localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST.", f"{socket.gethostname()}:80"):
        assert served.get(path, Host=host).status != 421, host
    # With the token no trick is needed.
    assert served.get(path, Host=EVIL, Authorization=f"Bearer {served.token}").status < 400


def test_content_is_for_all_pages_anyway(served: Node) -> None:
    for path in ("/healthz", ABSENT, "/routing/v1/peers/x"):
        assert served.get(path, Host=EVIL).status in (200, 404)


def test_names_may_be_given(tmp_path: Path) -> None:
    with Node(tmp_path / "store", "--host-name", "Node.Example.org") as node:
        assert node.get("/api/v1/node", Host="node.example.org:80").status == 200
        assert node.get("/api/v1/node", Host="example.org").status == 421


def test_names_of_hosts() -> None:
    assert [host_of(text) for text in ("a:1", "A", "[::1]:1", "[::1]", "a.", "", "a:b:c")] == [
        "a", "a", "::1", "::1", "a", "", "a",
    ]  # fmt: skip
    assert all("." not in name or name.endswith(".local") for name in own_names())
    Hosts(frozenset()).check("0.0.0.0:80")


#: What is open to all, and why: it says that the node lives and who it is, or is how one signs in.
OPEN = {("GET", "/healthz"), ("GET", "/api/v1/node"), ("GET", "/login"), ("POST", "/login"), ("POST", "/logout"),
        ("GET", "/static/{name}")}  # fmt: skip


def test_from_other_machines_everything_but_content_needs_the_token(tmp_path: Path) -> None:
    state = open_node(tmp_path / "other")
    try:
        # All that the application answers: a path that is added is asked, too.
        routes = create_app(state).app.routes  # type: ignore[attr-defined]
    finally:
        state.close()
    asked = 0
    with JobNode(tmp_path / "store", listen="0.0.0.0:0") as node:
        for route in routes:
            for method in sorted(route.methods - {"HEAD"}):
                if (method, route.path) in OPEN or route.path.startswith("/routing/"):
                    continue
                path = re.sub(r"\{\w+(:path)?\}", "x", route.path.replace("{cid}", "bafkqaaa"))
                for headers in ({}, {"Accept": "text/html"}, {"Authorization": "Basic eDp5"}, {"Cookie": "a=b"}):
                    answer = node.ask(method, path, b"{}", {"Host": "127.0.0.1", **headers})
                    assert answer.status == 401, (method, path, headers)
                    asked += 1
    assert asked > 80


def test_a_node_that_was_never_served_lets_go_of_its_folder(tmp_path: Path) -> None:
    for _ in range(2):
        open_node(tmp_path).close()


def test_only_content_may_be_read_by_pages_of_others(served: Node) -> None:
    for path in ("/", "/login", "/jobs", "/static/live.js", "/api/v1/node", "/api/v1/jobs", "/healthz", "/nothing"):
        for method in ("GET", "OPTIONS"):
            answer = served.ask(method, path, headers={"Origin": "https://example.org"})
            assert not [name for name in answer.headers if name.startswith("access-control")], (method, path)
    assert served.get(ABSENT, Origin="https://example.org").headers["access-control-allow-origin"] == "*"


def refused_after(node: Node, path: str) -> tuple[int, Answer]:
    """How often a path is answered before it is refused, and the refusal."""
    served = 0
    while (answer := node.get(path)).status != 429:
        served += 1
    return served, answer


def test_a_client_that_comes_too_often_is_told_to_wait(tmp_path: Path) -> None:
    with JobNode(tmp_path / "store", "--rate-limit", 1, "--content-rate-limit", 2) as node:
        began = time.monotonic()
        served, refused = refused_after(node, ABSENT)
        # On a slow machine more are due meanwhile.
        assert 10 <= served <= 11 + 2 * (time.monotonic() - began)
        assert (refused.code, refused.headers["retry-after"]) == ("too-often", "1")
        assert refused.headers["access-control-allow-origin"] == "*"
        # Of the others it still has all.
        assert [node.get("/healthz").status for _ in range(5)] == [200] * 5
        for path in ("/healthz", "/", "/api/v1/node", "/routing/v1/peers/x"):
            assert refused_after(node, path)[0] <= 5, path
        # Another client is not held up.
        connection = socket.create_connection((node.host, node.port), timeout=20, source_address=("127.0.0.2", 0))
        with connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        _, err = node.stop()
    # Named once in a while, not for each request.
    (line,) = map(json.loads, err.splitlines())
    assert (line["message"], line["client"]) == ("a client comes too often", "127.0.0.1")


@given(st.lists(st.floats(0, 5), max_size=200), st.floats(0.5, 100), st.integers(1, 50))
def test_nobody_gets_more_than_the_rate(pauses: list[float], rate: float, burst: int) -> None:
    now = 0.0
    rates = Rates(rate, burst, lambda: now)
    served = 0
    for pause in pauses:
        now += pause
        seconds = rates.take("x")
        served += not seconds
        assert served <= burst + now * rate + 1e-6
        if seconds:
            # It is true what it is told.
            now += seconds * 1.0001 + 1e-9
            assert rates.take("x") == 0
            served += 1


def test_clients_beyond_a_number_are_forgotten() -> None:
    rates = Rates(0.001, 1, lambda: 0.0)
    assert rates.take("first") == 0 and rates.take("first") > 0
    for number in range(MAX_CLIENTS):
        rates.take(str(number))
    assert rates.take("first") == 0


def test_what_stands_for_a_client() -> None:
    assert client_of(("10.0.0.1", 5)) == "10.0.0.1"
    assert client_of(("2001:db8::1:2", 5)) == client_of(("2001:db8::ffff:9", 6)) == "2001:db8::/64"
    assert client_of(("2001:db8:0:1::1", 5)) != client_of(("2001:db8::1", 5))
    assert client_of(("::ffff:10.0.0.1", 5)) == "10.0.0.1"
    assert client_of(("fe80::1%eth0", 5)) == "fe80::/64"
    assert client_of(None) == ""


@pytest.mark.parametrize("form", ["json", "plain"])
def test_requests_are_logged_without_secrets(tmp_path: Path, form: str) -> None:
    with Node(tmp_path / "store", "--log-format", form, "--log-requests") as node:
        node.get("/api/v1/pins?token=in-the-query", Authorization=f"Bearer {node.token}", Cookie="secret-cookie=1")
        node.get("/nothing%0ahere%1b[31m", Accept="secret-header")
        node.ask("POST", "/login", b"token=a-wrong-secret", {"Accept": "text/html"})
        _, err = node.stop()
        lines = err.splitlines()
        assert len(lines) == 3 and "\x1b" not in err
        for secret in (node.token, "in-the-query", "secret-cookie", "secret-header", "a-wrong-secret"):
            assert secret not in err
        if form == "json":
            shown = [json.loads(line) for line in lines]
            assert [(line["method"], line["path"], line["status"]) for line in shown] == [
                ("GET", "/api/v1/pins", 200), ("GET", "/nothing\nhere\x1b[31m", 404), ("POST", "/login", 401),
            ]  # fmt: skip
            assert all(line["time"].endswith("+00:00") and line["level"] == "info" for line in shown)
        else:
            assert " info: request client=127.0.0.1 method=GET path=/api/v1/pins status=200 ms=" in lines[0]
            assert r"path='/nothing\nhere\x1b[31m'" in lines[1]
