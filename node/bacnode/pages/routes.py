"""The paths of the pages, and what each reads before it is shown."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bacnode.api import jobs as jobs_api
from bacnode.api.peers import list_peers
from bacnode.http_server.auth import SIGNED_IN
from bacnode.http_server.body import Body
from bacnode.http_server.errors import RequestError, error_response, status_of
from bacnode.http_server.rate_limit import Rates, client_of, too_often
from bacnode.jobs.view import view
from bacnode.node_state import NodeState
from bacnode.pages import text, views
from bacnode.pages.module_view import CachedModulesView
from bacnode.pages.render import FOLDER, HEADERS, answer, html, problem, wants_json
from bacnode.pages.sessions import Sessions, require_own_page, safe_next
from bacpack import __version__
from bacpack.errors import BacpackError

#: Jobs on a page, and on the first page.
PAGE, LATEST, MAX_PAGE = 100, 10, 1000
#: Bytes of each stream that are shown; the whole is a link away.
SHOWN_BYTES = 64 << 10
#: Attempts at signing in that one client may make: a second on average, and at once.
SIGN_IN_RATE, SIGN_IN_BURST = 1 / 6, 10
_MAX_FORM_BYTES = 8 << 10
#: Seconds for which it is remembered which peers answer.
_PEERS_SECONDS = 5.0

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class PagesState:
    """What the pages of one node remember."""

    def __init__(self, node: NodeState) -> None:
        self.node = node
        self.sessions = Sessions(node.identity.peer_id)
        self.modules = CachedModulesView(node)
        self.attempts = Rates(SIGN_IN_RATE, SIGN_IN_BURST)
        self._asking = asyncio.Lock()
        self._answered: tuple[float, dict[str, float | None]] = (0.0, {})

    async def answered(self) -> dict[str, float | None]:
        """Return how soon each peer answered a moment ago, by URL; None for one that did not."""
        async with self._asking:
            if time.monotonic() >= self._answered[0]:
                found = {url: ms for url, _, ms in await self.node.peers.answering()}
                self._answered = (time.monotonic() + _PEERS_SECONDS, found)
            return self._answered[1]

    def is_signed_in(self, request: Request) -> bool:
        """Whether a request may see pages: it has a session, or shows the token."""
        if "Authorization" in request.headers:
            self.node.access.require(request)
            return True
        return self.sessions.has(request)


Page = Callable[[Request, PagesState], Awaitable[Response]]


def page(show: Page, *, is_open: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that shows a page to those who signed in, and to others the form for that."""

    async def endpoint(request: Request) -> Response:
        state: PagesState = request.app.state.pages
        try:
            if not is_open:
                if not state.is_signed_in(request):
                    return _ask_to_sign_in(request)
                request.scope[SIGNED_IN] = state.node.access
            return await show(request, state)
        except BacpackError as error:
            if wants_json(request):
                return error_response(error)
            headers = error.headers if isinstance(error, RequestError) else None
            return problem(request, error, status_of(error), headers)

    return endpoint


async def overview(request: Request, state: PagesState) -> Response:
    """`GET /`."""
    node = state.node
    modules = await state.modules.view()
    names = _names(modules)
    records = await node.jobs.queries.page(None, None, LATEST)
    view = views.Overview(
        node=_card(node),
        counts=await _counts(node),
        jobs=[views.job_row(record, names) for record in records],
        modules=len(modules.modules),
        bytes=modules.bytes,
        sharing=modules.sharing,
        peers=len(node.peers.urls),
    )
    return answer(request, "overview.html", view)


async def jobs(request: Request, state: PagesState) -> Response:
    """`GET /jobs`: `?state=`, `?limit=` and, for older ones, `?before=`."""
    query = request.query_params
    wanted = query.get("state") or None
    if wanted is not None and wanted not in views.STATES:
        raise RequestError("bad-request", f"no job is ever `{wanted[:40]}`", hint=f"one of {', '.join(views.STATES)}")
    most = max(1, jobs_api.number(query.get("limit", str(PAGE)), "limit", MAX_PAGE))
    before = jobs_api.number(query["before"], "before", 1 << 62) if "before" in query else None
    records = await state.node.jobs.queries.page(wanted, before, most)
    names = _names(await state.modules.view())
    return answer(request, "jobs.html", views.jobs_view(records, await _counts(state.node), wanted, most, names))


async def job(request: Request, state: PagesState) -> Response:
    """`GET /jobs/{id}`."""
    record = await jobs_api.found(request, state.node.jobs)
    folder = state.node.jobs.queue.folder(record.id)
    names = _names(await state.modules.view())
    logs = await state.node.in_reader(lambda: [_end_of(path) for path in (folder.stdout, folder.stderr)])
    return answer(request, "job.html", views.job_page(record, view(record), logs, names))


async def cancel(request: Request, state: PagesState) -> Response:
    """`POST /jobs/{id}/cancel`: end it, and show it."""
    require_own_page(request)
    record = await jobs_api.found(request, state.node.jobs)
    await state.node.jobs.queue.cancel(record.id)
    return _to(f"/jobs/{record.id}")


async def logs(request: Request, _state: PagesState) -> Response:
    """`GET /jobs/{id}/logs`: all that it printed, as the interface for programs gives it."""
    response = await jobs_api.logs(request)
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


async def file(request: Request, _state: PagesState) -> Response:
    """`GET /jobs/{id}/files/{path}`: what it left."""
    response = await jobs_api.get_file(request)
    response.headers["Cache-Control"] = "no-store"
    return response


async def modules(request: Request, state: PagesState) -> Response:
    """`GET /modules`."""
    view = await state.modules.view()
    return answer(request, "modules.html", view, **_drawn(view))


async def module(request: Request, state: PagesState) -> Response:
    """`GET /modules/{cid}`."""
    cid = request.path_params["cid"]
    all_modules = await state.modules.view()
    view = views.module_view(all_modules, cid)
    if view is None:
        raise RequestError(
            "no-such-module",
            f"this node holds no module `{cid[:100]}`",
            hint="the page `/modules` lists what it holds",
            status=404,
        )
    return answer(request, "module.html", view, **_drawn(all_modules, cid))


async def peers(request: Request, state: PagesState) -> Response:
    """`GET /peers`."""
    modules = [row.module for row in (await state.modules.view()).modules]
    return answer(
        request, "peers.html", views.peers_view(await list_peers(state.node), await state.answered(), modules)
    )


async def sign_in(request: Request, state: PagesState) -> Response:
    """`POST /login`: begin a session for who knows the token."""
    require_own_page(request)
    form = await _form(request)
    seconds = state.attempts.take(client_of(request.scope.get("client")))
    if seconds:
        raise too_often("too many attempts to sign in", seconds)
    following = safe_next(form.get("next", "/"))
    if not state.node.access.is_token(form.get("token", "")):
        return _form_page(following, is_wrong=True)
    response = _to(following)
    state.sessions.open(request, response)
    return response


async def sign_out(request: Request, state: PagesState) -> Response:
    """`POST /logout`: end the session."""
    require_own_page(request)
    response = _to("/")
    state.sessions.close(request, response)
    return response


async def login(request: Request, state: PagesState) -> Response:
    """`GET /login`: the form, for who comes by its path."""
    return _to("/") if state.is_signed_in(request) else _form_page("/", status=200)


async def static(request: Request, _state: PagesState) -> Response:
    """`GET /static/{name}`: one of a few files."""
    files = _static_files()
    found = files.get(request.path_params["name"])
    if found is None:
        raise RequestError("no-such-page", "there is no such file", hint="see the guide to the node", status=404)
    body, kind = found
    return Response(body, headers={**HEADERS, "Cache-Control": "no-cache"}, media_type=kind)


def _ask_to_sign_in(request: Request) -> Response:
    if wants_json(request) or request.method != "GET":
        raise RequestError(
            "unauthorized",
            "pages are shown to those who signed in",
            hint="send `Authorization: Bearer TOKEN`, or sign in with a browser",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    query = f"?{request.url.query}" if request.url.query else ""
    return _form_page(safe_next(request.url.path + query))


def _form_page(following: str, *, is_wrong: bool = False, status: int = 401) -> Response:
    body = html("login.html", following=following, is_wrong=is_wrong)
    headers = {**HEADERS, "WWW-Authenticate": 'Form realm="bacpack node"'} if status == 401 else HEADERS
    return Response(body, status, headers, media_type="text/html; charset=utf-8")


def _to(path: str) -> Response:
    return RedirectResponse(path, 303, HEADERS)


async def _form(request: Request) -> dict[str, str]:
    body = Body(request, _MAX_FORM_BYTES)
    parts = []
    while part := await body.next_part():
        parts.append(part)
    try:
        fields = parse_qs(b"".join(parts).decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise RequestError("bad-request", "the form cannot be read", hint="open the page again") from None
    return {field: values[0] for field, values in fields.items()}


async def _counts(node: NodeState) -> dict[str, int]:
    return views.all_counts(await node.jobs.queries.counts())


def _names(view: views.ModulesView) -> dict[str, str]:
    return views.names_of(row.module for row in view.modules)


def _card(node: NodeState) -> views.NodeCard:
    return views.NodeCard(peer_id=node.identity.peer_id, url=node.url, version=__version__)


def _drawn(view: views.ModulesView, cid: str | None = None) -> dict[str, object]:
    return {"picture": views.picture(view, cid), "rows": {row.module.cid: row for row in view.modules}, "focus": cid}


def _end_of(path: Path) -> views.Printed:
    """Read the end of what a job printed, from its first whole line on."""
    data, size = b"", 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            data = os.pread(descriptor, SHOWN_BYTES, max(0, size - SHOWN_BYTES))
        finally:
            os.close(descriptor)
    except OSError:
        # It has printed nothing yet.
        pass
    is_cut = size > len(data)
    if is_cut:
        _, newline, rest = data.partition(b"\n")
        data = rest if newline else data
    return views.Printed(stream=path.name, bytes=size, text=text.printed(data), is_cut=is_cut)


def _static_files() -> dict[str, tuple[bytes, str]]:
    if not _STATIC:
        for found in (FOLDER / "static").iterdir():
            if found.suffix in _KINDS:
                _STATIC[found.name] = (found.read_bytes(), _KINDS[found.suffix])
    return _STATIC


_STATIC: dict[str, tuple[bytes, str]] = {}

ROUTES = [
    Route("/", page(overview), methods=["GET"]),
    Route("/jobs", page(jobs), methods=["GET"]),
    Route("/jobs/{id}", page(job), methods=["GET"]),
    Route("/jobs/{id}/cancel", page(cancel), methods=["POST"]),
    Route("/jobs/{id}/logs", page(logs), methods=["GET"]),
    Route("/jobs/{id}/files/{path:path}", page(file), methods=["GET"]),
    Route("/modules", page(modules), methods=["GET"]),
    Route("/modules/{cid}", page(module), methods=["GET"]),
    Route("/peers", page(peers), methods=["GET"]),
    Route("/login", page(login, is_open=True), methods=["GET"]),
    Route("/login", page(sign_in, is_open=True), methods=["POST"]),
    Route("/logout", page(sign_out, is_open=True), methods=["POST"]),
    Route("/static/{name}", page(static, is_open=True), methods=["GET"]),
]
