"""Making an answer of a view: HTML for people, JSON for programs; with headers that keep a browser from harm."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from bacnode.pages import text
from bacpack.errors import BacpackError

# Imported where it is used: a node whose pages nobody opens does without it, and it takes memory.
if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent

#: Nothing from elsewhere, no script or style in the page itself, no frame around it, no form to elsewhere.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`, with which browsers hide where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Vary": "Accept, Cookie",
}
_TAG = re.compile(r'"[0-9a-f]{32}"')


def wants_json(request: Request) -> bool:
    """Whether a client asks for the JSON twin of a page: it names JSON before HTML, or without it."""
    kinds = [part.partition(";")[0].strip().lower() for part in request.headers.get("Accept", "").split(",")]
    return "application/json" in kinds and "text/html" not in kinds[: kinds.index("application/json")]


def answer(request: Request, template: str, view: msgspec.Struct, **more: Any) -> Response:
    """Return a page or its twin; 304 where the client has it as it is."""
    if wants_json(request):
        return _tagged(request, msgspec.json.encode(view), "application/json")
    return _tagged(request, html(template, view=view, **more), "text/html; charset=utf-8")


def html(template: str, **values: Any) -> bytes:
    """Render a template."""
    return templates().get_template(template).render(**values).encode("utf-8", "replace")


@cache
def templates() -> jinja2.Environment:
    """The templates, which escape what they are given and refuse what they are not given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = {"size": text.size, "moment": text.moment, "duration": text.duration, "short": text.short}
    environment.filters.update(filters | {"named": text.name, "fitted": text.fitted})
    return environment


def problem(request: Request, error: BacpackError, status: int, headers: dict[str, str] | None = None) -> Response:
    """Return the page that tells of an error."""
    body = html("error.html", error=error, status=status, path=request.url.path)
    return Response(body, status, {**HEADERS, **(headers or {})}, media_type="text/html; charset=utf-8")


def _tagged(request: Request, body: bytes, kind: str) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": tag}
    if tag in _TAG.findall(request.headers.get("If-None-Match", "")):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type=kind)
