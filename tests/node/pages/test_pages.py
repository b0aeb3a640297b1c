"""What pages tell, and that they tell it as text, whatever others have put into it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.store.origins import Provenance
from node.jobs import programs
from node.jobs.harness import JobNode
from node.pages.conftest import Used
from node.pages.stage import HOSTILE, module
from node.serving import Answer, Node

ABSENT = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text outside of them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(node: Node, path: str, accept: str = HTML) -> Answer:
    return node.get(path, Authorization=f"Bearer {node.token}", Accept=accept)


def paths(used: Used) -> list[str]:
    more = ["/jobs?state=failed", f"/jobs/{used.running}", f"/jobs/{used.leaving}", f"/jobs/{used.jobs[3]}"]
    return ["/", "/jobs", *more, "/modules", f"/modules/{used.programs[0]}", f"/modules/{used.hostile}", "/peers"]


def test_pages_hold_nothing_that_runs_and_nothing_from_elsewhere(used: Used) -> None:
    for path in [*paths(used), "/jobs/none", "/modules/none", "/login"]:
        answer = page(used.node, path)
        assert answer.status == (404 if path.endswith("/none") else 303 if path == "/login" else 200), path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        elements = Elements(answer.body)
        for tag, attributes in elements.found:
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path, tag, attributes)
            for name in ("src", "href", "action"):
                assert re.fullmatch(r"(/|#)[^/].*|/|\?.*", attributes.get(name) or "/"), (path, tag, attributes)
        assert [tag for tag, attributes in elements.found if tag == "script" and "src" not in attributes] == []
        assert "style" not in [tag for tag, _ in elements.found]


def test_pages_have_what_assistive_technology_needs(used: Used) -> None:
    for path in paths(used):
        elements = Elements(page(used.node, path).body).found
        tags = [tag for tag, _ in elements]
        assert tags.count("main") == tags.count("h1") == tags.count("header") == tags.count("footer") == 1, path
        assert ("html", {"lang": "en"}) in elements
        identities = [attributes["id"] for _, attributes in elements if "id" in attributes]
        assert len(identities) == len(set(identities)), path
        for tag, attributes in elements:
            labelled = attributes.get("aria-labelledby")
            assert labelled is None or labelled in identities, (path, labelled)
            if tag == "img":
                assert "alt" in attributes
            if "tabindex" in attributes and tag != "main":
                assert attributes.get("aria-label"), (path, attributes)
        assert [attributes for _, attributes in elements if attributes.get("aria-current") == "page"], path


def test_what_others_have_named_is_text(used: Used) -> None:
    shown = HOSTILE.replace("\u202e", "\ufffd")
    for path in ("/", "/jobs", f"/jobs/{used.running}", "/modules", f"/modules/{used.hostile}"):
        answer = page(used.node, path)
        elements = Elements(answer.body)
        # Of a module's name only what stands after the last slash.
        assert shown in elements.text or shown.rpartition("/")[2] in elements.text, path
        assert b"<script>document" not in answer.body and "\u202e" not in answer.body.decode()
        assert not [attributes for tag, attributes in elements.found if tag == "img" and attributes.get("src") == "x"]


def test_logs_are_shown_without_what_terminals_obey(used: Used) -> None:
    text = Elements(page(used.node, f"/jobs/{used.running}").body).text
    assert "red <b>bold</b>" in text and "\x1b" not in text
    whole = page(used.node, f"/jobs/{used.running}/logs?stream=stdout")
    assert (whole.headers["content-type"], whole.headers["x-content-type-options"]) == (
        "text/plain; charset=utf-8",
        "nosniff",
    )
    assert whole.body.startswith(b"\x1b[31mred")


def test_long_logs_are_shown_by_their_end(used: Used) -> None:
    folder = used.node.store / "jobs" / used.jobs[0]
    before = (folder / "stdout").read_bytes()
    try:
        (folder / "stdout").write_bytes(b"".join(b"%06d\n" % number for number in range(50_000)))
        log = page(used.node, f"/jobs/{used.jobs[0]}", "application/json").json["logs"][0]
    finally:
        (folder / "stdout").write_bytes(before)
    assert log["is_cut"] and log["bytes"] == 350_000
    assert len(log["text"]) <= 65536 and log["text"].endswith("049999\n") and re.match(r"\d{6}\n", log["text"])


def test_a_job_tells_what_it_used_and_left(used: Used) -> None:
    view = page(used.node, f"/jobs/{used.leaving}", "application/json").json
    assert view["job"] == used.node.job(used.leaving)
    elements = Elements(page(used.node, f"/jobs/{used.leaving}").body)
    assert (
        "a",
        {"href": f"/jobs/{used.leaving}/files/out/copy.txt", "download": None},
    ) in elements.found
    left = page(used.node, f"/jobs/{used.leaving}/files/out/copy.txt")
    assert (left.status, left.body) == (200, b"so") and "attachment" in left.headers["content-disposition"]
    (used_module,) = view["job"]["report"]["modules"]
    assert any(attributes.get("href") == f"/modules/{used_module['cid']}" for _, attributes in elements.found)


def test_what_a_job_was_given_in_secret_stands_nowhere(used: Used) -> None:
    for path in [*paths(used), f"/jobs/{used.jobs[0]}"]:
        for accept in (HTML, "application/json"):
            assert b"env-secret" not in page(used.node, path, accept).body, path


def test_each_page_is_json_for_programs(used: Used) -> None:
    for path in paths(used):
        twin = page(used.node, path, "application/json")
        assert twin.headers["content-type"] == "application/json" and twin.json["schema"] == 1, path
        assert page(used.node, path, "application/json, text/html").headers["content-type"] == "application/json"
        assert page(used.node, path, "*/*").headers["content-type"].startswith("text/html")
    assert page(used.node, "/jobs/none", "application/json").code == "no-such-job"
    assert page(used.node, "/modules/none", "application/json").code == "no-such-module"


def test_older_jobs_are_a_link_away(used: Used) -> None:
    seen: list[str] = []
    following = "/jobs?limit=50"
    while following:
        view = page(used.node, following, "application/json").json
        seen += [row["id"] for row in view["jobs"]]
        following = f"/jobs?limit=50&before={view['next']}" if view["next"] is not None else ""
    assert seen == [used.leaving, used.running, *reversed(used.jobs)]
    answer = page(used.node, "/jobs")
    (link,) = [attributes["href"] for _, attributes in Elements(answer.body).found if attributes.get("rel") == "next"]
    assert page(used.node, str(link)).status == 200


def test_jobs_by_state(used: Used) -> None:
    view = page(used.node, "/jobs?state=failed", "application/json").json
    assert {row["state"] for row in view["jobs"]} == {"failed"}
    assert view["counts"]["failed"] == len(view["jobs"]) and view["counts"]["running"] == 1
    for query in ("state=odd", "limit=x", "before=-1"):
        assert page(used.node, f"/jobs?{query}", "application/json").code == "bad-request"


def test_a_page_that_is_as_before_is_not_sent_again(used: Used) -> None:
    path = f"/jobs/{used.jobs[0]}"
    first = page(used.node, path)
    headers = {"Authorization": f"Bearer {used.node.token}", "If_None_Match": first.headers["etag"], "Accept": HTML}
    assert used.node.get(path, **headers).status == 304
    assert used.node.get(path, **{**headers, "If_None_Match": '"other"'}).status == 200


def test_the_graph_is_that_of_the_imports(used: Used) -> None:
    view = page(used.node, "/modules", "application/json").json
    by_cid = {row["module"]["cid"]: row for row in view["modules"]}
    assert len(by_cid) == 40 + 2
    lines = sum(len(row["imports"]) for row in by_cid.values())
    assert lines > 40
    for cid, row in by_cid.items():
        assert all(cid in by_cid[other]["users"] for other in row["imports"])
        assert all(cid in by_cid[other]["imports"] for other in row["users"])
    elements = Elements(page(used.node, "/modules").body).found
    assert sum(tag == "path" for tag, _ in elements) == lines
    boxes = [attributes for tag, attributes in elements if tag == "g" and "box" in (attributes.get("class") or "")]
    assert len(boxes) == len(by_cid)
    # Added up without the node.
    apart = sum(_closure_bytes(by_cid, cid) for cid, row in by_cid.items() if not row["users"])
    together = sum(row["module"]["bytes"] for row in by_cid.values())
    assert view["sharing"]["saved_bytes"] == apart - together > 0


def _closure_bytes(rows: dict[str, dict[str, object]], cid: str) -> int:
    seen: set[str] = set()

    def visit(cid: str) -> None:
        if cid not in seen:
            seen.add(cid)
            for other in rows[cid]["imports"]:  # type: ignore[attr-defined]
                visit(other)

    visit(cid)
    return sum(rows[each]["module"]["bytes"] for each in seen)  # type: ignore[index]


def test_what_a_module_lacks_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("lack") / "store"
    lacking = module([ABSENT], 1)
    Provenance(folder).record([(Cid.of_raw(lacking), "lacking.wasm")], "upload")
    with JobNode(folder) as node:
        cid = node.add(lacking)
        assert page(node, f"/modules/{cid}", "application/json").json["row"]["missing"] == [ABSENT]
        assert ABSENT in Elements(page(node, f"/modules/{cid}").body).text


def test_proprietary_modules_are_named_and_nothing_of_them_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("own")
    (folder / "solver.wasm").write_bytes(programs.library(4))
    with JobNode(folder / "store", "--proprietary", folder / "solver.wasm") as node:
        (row,) = page(node, "/modules", "application/json").json["modules"]
        assert row["module"]["proprietary"] and row["name"] == "solver.wasm" and row["imports"] == []
        assert page(node, f"/modules/{row['module']['cid']}").status == 200


def test_a_node_with_nothing_has_pages(tmp_path_factory: pytest.TempPathFactory) -> None:
    with JobNode(tmp_path_factory.mktemp("empty") / "store") as node:
        for path in ("/", "/jobs", "/modules", "/peers"):
            assert page(node, path).status == 200
            assert page(node, path, "application/json").status == 200
        for name, kind in (("style.css", "text/css"), ("live.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
            assert node.get(f"/static/{name}").headers["content-type"].startswith(kind)
        for name in ("..%2Froutes.py", "routes.py", "..", "%2e%2e/text.py"):
            assert node.get(f"/static/{name}").status == 404
