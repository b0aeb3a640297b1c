"""Pages in a real browser: Chromium without a window, steered by Playwright. Without it these tests are not run."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from node.jobs import programs
from node.pages.conftest import Used
from serving import Quiet, Serving
from wanting import skip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    skip("Chromium", "apt-get install chromium", module=True)

SECONDS = 30_000
NARROW, WIDE = {"width": 360, "height": 800}, {"width": 1400, "height": 900}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    # It keeps settings in the home folder, whatever folder its profile is in.
    environment = {**os.environ, "HOME": str(tmp_path_factory.mktemp("chromium"))}
    with sync_playwright() as play:
        # The tests may be run by root, in a container, where its own sandbox does not work.
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=environment)
        yield running
        running.close()


class Visit:
    """A browser's window that is signed in; whatever it complains of is kept."""

    def __init__(self, browser: Browser, used: Used, **options: Any) -> None:
        self.context = browser.new_context(base_url=used.node.url, **options)
        self.context.set_default_timeout(SECONDS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto("/")
        self.page.get_by_label("Token").fill(used.node.token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()
        # That the first page was refused is told in the console.
        self.complaints = [text for text in self.complaints if "401" not in text]


@pytest.fixture
def visit(browser: Browser, used: Used, request: pytest.FixtureRequest) -> Iterator[Visit]:
    found = Visit(browser, used, **getattr(request, "param", {"viewport": WIDE}))
    yield found
    assert found.complaints == []
    assert [url for url in found.asked if not url.startswith(used.node.url)] == []
    found.context.close()


def shown_paths(used: Used) -> list[str]:
    jobs = [f"/jobs/{job}" for job in (used.running, used.leaving, used.jobs[3])]
    return ["/", "/jobs", *jobs, "/modules", f"/modules/{used.hostile}", "/peers"]


@pytest.mark.parametrize(
    "visit",
    [
        {"viewport": size, "color_scheme": scheme, "java_script_enabled": script}
        for size in (NARROW, WIDE)
        for scheme, script in (("light", True), ("dark", False))
    ],
    indirect=True,
    ids=["narrow", "narrow dark no script", "wide", "wide dark no script"],
)
def test_pages_fit_the_screen_and_nothing_hostile_acts(visit: Visit, used: Used) -> None:
    for path in shown_paths(used):
        answer = visit.page.goto(path)
        assert answer is not None and answer.status == 200
        assert visit.page.get_by_role("heading", level=1).is_visible()
        assert "owned" not in visit.page.title().partition("<")[0], path
        width = visit.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width[0] <= width[1], path


LUMINANCE = """
(() => {
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => {
      c /= 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$|transparent/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("svg, .skip, thead")) continue;
    const pair = [getComputedStyle(element).color, back(element)].map(luminance).sort((a, b) => b - a);
    seen += 1;
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.push([element.className, walker.currentNode.data.slice(0, 30), ratio]);
  }
  return { seen, poor };
})()
"""


@pytest.mark.parametrize(
    "visit",
    [{"viewport": WIDE, "color_scheme": scheme} for scheme in ("light", "dark")],
    indirect=True,
    ids=["light", "dark"],
)
def test_text_stands_out(visit: Visit, used: Used) -> None:
    for path in shown_paths(used):
        visit.page.goto(path)
        found = visit.page.evaluate(LUMINANCE)
        assert found["seen"] > 10 and found["poor"] == [], path


@pytest.mark.parametrize("visit", [{"viewport": NARROW, "java_script_enabled": False}], indirect=True)
def test_everything_can_be_done_without_a_script(visit: Visit, used: Used) -> None:
    job = used.node.submit(programs.endless("as it goes"))
    used.node.until_printed(job, b"as it goes")
    page = visit.page
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name=re.compile("^running")).click()
    page.locator(f'a[href="/jobs/{job}"]').click()
    assert "as it goes" in page.locator("pre").inner_text()
    page.get_by_role("button", name="Cancel this job").click()
    page.locator(".state-cancelled").wait_for()
    assert used.node.job(job)["state"] == "cancelled"
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    page.goto("/jobs")
    assert page.get_by_label("Token").is_visible()
    visit.complaints = [text for text in visit.complaints if "401" not in text]


def test_a_job_is_followed_as_it_goes(visit: Visit, used: Used) -> None:
    page = visit.page
    page.goto("/jobs")
    # It comes by itself, without the page being loaded anew.
    page.evaluate("window.same = true")
    job = used.node.submit(programs.endless("step one"))
    page.locator(f'a[href="/jobs/{job}"]').wait_for()
    assert page.evaluate("window.same")
    page.locator(f'a[href="/jobs/{job}"]').click()
    page.get_by_text("step one").wait_for()
    page.evaluate("window.same = true")
    used.node.post(f"/api/v1/jobs/{job}", method="DELETE")
    page.locator(".status .state-cancelled").wait_for()
    assert page.evaluate("window.same") and page.get_by_role("button", name="Cancel this job").count() == 0
    # Nothing more will happen, so it asks no more.
    page.locator(".live").wait_for(state="detached")


def test_following_can_be_paused_and_leaves_what_is_read_alone(visit: Visit, used: Used) -> None:
    page = visit.page
    page.goto("/jobs")
    page.get_by_role("button", name="Pause").click()
    job = used.node.submit(programs.hello())
    used.node.ended(job)
    asked = len(visit.asked)
    page.wait_for_timeout(2500)
    assert len(visit.asked) == asked and page.locator(f'a[href="/jobs/{job}"]').count() == 0
    # With the keyboard in the list, the list stays; it is renewed when that has left.
    link = page.locator("[data-part=jobs] a").first
    link.focus()
    page.get_by_role("button", name="Go on").evaluate("button => button.click()")
    with page.expect_response(re.compile("/jobs$")):
        pass
    assert page.locator(f'a[href="/jobs/{job}"]').count() == 0
    assert link.evaluate("link => link === document.activeElement")
    link.evaluate("link => link.blur()")
    job = used.node.submit(programs.hello())
    page.locator(f'a[href="/jobs/{job}"]').wait_for()


def test_the_keyboard_reaches_everything(visit: Visit, used: Used) -> None:
    page = visit.page
    page.goto("/modules")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.className"))
        # Where one is can be seen.
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none" or page.evaluate(
            "document.activeElement.closest('svg') !== null"
        )
    assert any("graph" in (name or "") for name in seen) and any("/modules/" in (name or "") for name in seen)


def test_a_box_in_the_graph_leads_to_its_module(visit: Visit, used: Used) -> None:
    page = visit.page
    page.goto("/modules")
    page.locator(f'.graph a[href="/modules/{used.programs[0]}"]').focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Needs").wait_for()
    assert page.url.endswith(used.programs[0]) and page.locator(".box.focus").count() == 1


@pytest.mark.parametrize("visit", [{"viewport": WIDE, "reduced_motion": "reduce"}], indirect=True)
def test_nothing_moves_for_who_does_not_want_it(visit: Visit) -> None:
    moving = "[...document.querySelectorAll('*')].some(e => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    assert not visit.page.evaluate(moving)
    visit.page.emulate_media(reduced_motion="no-preference")
    assert visit.page.evaluate(moving)


class _Neighbour(Quiet, BaseHTTPRequestHandler):
    """A server at another port of this machine, and so of one site with the node: it is sent the node's cookies."""

    cookies: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", ""))
        target = self.path.partition("?")[2]
        body = f'<!doctype html><iframe src="{target}" width="600" height="400"></iframe>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)


def test_a_neighbour_learns_nothing_of_who_is_signed_in(visit: Visit, used: Used) -> None:
    with Serving(_Neighbour) as server:
        other = visit.context.new_page()
        blocked: list[str] = []
        other.on("console", lambda said: blocked.append(said.text))
        other.goto(f"{server.url}/?{used.node.url}/jobs")
        # The cookie was sent to the neighbour, as browsers do: it must not be the token.
        cookie = next(filter(None, _Neighbour.cookies))
        assert used.node.token not in cookie
        assert used.node.get("/api/v1/pins", Cookie=cookie).status == 401
        # The node's page is not shown in a frame.
        until = time.monotonic() + 20
        while not any("frame-ancestors" in text for text in blocked):
            assert time.monotonic() < until, blocked
            other.wait_for_timeout(20)
        for path in ("/", "/api/v1/jobs", f"/jobs/{used.leaving}"):
            read = other.evaluate(
                "url => fetch(url, {credentials: 'include'}).then(a => a.text(), () => 'refused')",
                used.node.url + path,
            )
            assert read == "refused", path
        # Neither can it send a form, though the cookie goes with it.
        with other.expect_navigation():
            other.evaluate(
                """url => { const form = document.createElement("form");
                form.method = "post"; form.action = url; document.body.append(form); form.submit(); }""",
                f"{used.node.url}/jobs/{used.running}/cancel",
            )
        assert "wrong-origin" in other.content()
        assert used.node.job(used.running)["state"] == "running"
