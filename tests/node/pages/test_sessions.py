"""Signing in: who may see pages, and what a cookie is good for."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from node.jobs import programs
from node.jobs.harness import JobNode
from node.serving import Answer, Node

HTML = "text/html"


def post(node: Node, path: str, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": HTML, "Origin": node.url}
    return node.ask("POST", path, urlencode(fields).encode(), {**form, **(headers or {})})


def sign_in(node: Node, following: str = "/") -> str:
    """Return the cookie."""
    answer = post(node, "/login", token=node.token, next=following)
    assert answer.status == 303, answer.body
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> JobNode:
    with JobNode(tmp_path_factory.mktemp("sessions") / "store", "--workers", 1) as running:
        yield running


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/x", "/jobs/x/logs", "/jobs/x/files/y", "/modules", "/peers"])
def test_pages_need_signing_in_also_on_this_machine(node: JobNode, path: str) -> None:
    answer = node.get(path, Accept=HTML)
    assert answer.status == 401 and b'action="/login"' in answer.body
    assert node.get(path, Accept="application/json").code == "unauthorized"
    assert node.get(path, Accept=HTML, Cookie="bacpack_x=y").status == 401
    assert node.get(path, Accept=HTML, Authorization="Bearer wrong").status == 401


def test_a_session_opens_pages_and_nothing_else(node: JobNode) -> None:
    answer = post(node, "/login", token=f" {node.token}\n", next="/jobs?state=done")
    assert (answer.status, answer.headers["location"]) == (303, "/jobs?state=done")
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie["httponly"] and cookie["samesite"] == "strict" and cookie["path"] == "/"
    assert cookie.key.endswith(node.peer_id[-12:])
    # Browsers send cookies to every port of a host.
    assert node.token not in answer.headers["set-cookie"]
    shown = f"{cookie.key}={cookie.value}"
    assert node.get("/", Accept=HTML, Cookie=shown).status == 200
    for path in ("/api/v1/pins", "/api/v1/pins/bafkqaaa"):
        assert node.get(path, Cookie=shown).status == 401
        assert node.get(path, Authorization=f"Bearer {cookie.value}").status == 401
    assert node.get("/", Accept=HTML, Authorization=f"Bearer {cookie.value}").status == 401


def test_signing_out_ends_the_session(node: JobNode) -> None:
    cookie, other = sign_in(node), sign_in(node)
    answer = post(node, "/logout", {"Cookie": cookie})
    assert answer.status == 303 and re.search(r'=""?;.*Max-Age=0', answer.headers["set-cookie"])
    assert node.get("/", Accept=HTML, Cookie=cookie).status == 401
    assert node.get("/", Accept=HTML, Cookie=other).status == 200


def test_sessions_end_with_time(tmp_path: Path) -> None:
    from starlette.requests import Request
    from starlette.responses import Response

    from bacnode.pages import sessions

    now = 0.0
    kept = sessions.Sessions("peer", lambda: now)

    def opened() -> Request:
        response = Response()
        kept.open(Request({"type": "http", "headers": []}), response)
        cookie = response.headers["set-cookie"].partition(";")[0]
        return Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})

    first = opened()
    now = sessions.SESSION_SECONDS - 1.0
    assert kept.has(first)
    now += 2
    assert not kept.has(first)
    # Only so many are open.
    second = opened()
    for _ in range(sessions.MAX_SESSIONS):
        opened()
    assert not kept.has(second)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_forms_of_other_pages_are_refused(node: JobNode, headers: dict[str, str]) -> None:
    job = node.submit(programs.endless())
    cookie = sign_in(node)
    assert post(node, f"/jobs/{job}/cancel", {**headers, "Cookie": cookie}).status == 403
    assert post(node, "/logout", {**headers, "Cookie": cookie}).status == 403
    assert post(node, "/login", headers, token=node.token).status == 403
    assert post(node, f"/jobs/{job}/cancel").status == 401
    assert node.job(job)["finished"] is None
    answer = post(node, f"/jobs/{job}/cancel", {"Cookie": cookie})
    assert (answer.status, answer.headers["location"]) == (303, f"/jobs/{job}")
    assert node.job(job)["state"] == "cancelled"


@pytest.mark.parametrize(
    "following", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:0", "", "/\r\nX: y", "/é"]
)
def test_signing_in_leads_to_no_other_site(tmp_path_factory: pytest.TempPathFactory, following: str) -> None:
    from bacnode.pages.sessions import safe_next

    assert safe_next(following) == "/"


def test_attempts_are_limited(tmp_path: Path) -> None:
    with JobNode(tmp_path / "store") as node:
        answers = [post(node, "/login", token=f"wrong{number}") for number in range(11)]
        assert [answer.status for answer in answers] == [401] * 10 + [429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 6
        assert b"not this node" in answers[0].body and b"wrong0" not in answers[0].body
        # Neither does the right one help now, nor does it matter to who shows the token otherwise.
        assert post(node, "/login", token=node.token).status == 429
        assert node.get("/", Accept=HTML, Authorization=f"Bearer {node.token}").status == 200


def test_a_form_is_read_up_to_a_limit(node: JobNode) -> None:
    assert post(node, "/login", token="x" * 10_000).status == 413
    assert node.ask("POST", "/login", b"\xff\xfe", {"Accept": HTML}).status == 400
    assert node.ask("POST", "/login", b"&".join(b"a=b" for _ in range(100)), {"Accept": HTML}).status == 400
