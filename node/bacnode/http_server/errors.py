"""How an error becomes an HTTP answer: the same JSON as `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bacpack.errors import BacpackError, UnreachableError

#: Codes with a status of their own; others have that of their class.
_STATUS = {
    "incomplete": 409,
    "car-too-large": 413,
    "too-large": 413,
    "disk-full": 507,
    "proprietary-module": 403,
    "no-permission": 500,
    "io-error": 500,
    "preparing-failed": 503,
    "store-busy": 503,
    "store-damaged": 500,
    "store-too-new": 500,
    "unsafe-engine": 503,
}


class RequestError(BacpackError):
    """A request that is not served; `status` is that of the answer, `headers` go with it."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, details=details)
        self.status = status
        self.headers = dict(headers or {})


def too_busy(what: str) -> RequestError:
    """The answer to one request too many; a client may come back in a second."""
    return RequestError(
        "too-busy",
        f"this node has too many {what} at once",
        hint="try again in a moment",
        status=429,
        headers={"Retry-After": "1"},
    )


def status_of(error: BacpackError) -> int:
    """The HTTP status that says what `error` says."""
    if isinstance(error, RequestError):
        return error.status
    return _STATUS.get(error.code, 404 if isinstance(error, UnreachableError) else 400)


def error_body(error: BacpackError) -> bytes:
    """The JSON that carries `error`."""
    return error_response(error).body  # type: ignore[return-value]  # bytes, as it is not streamed


def error_response(error: BacpackError) -> JSONResponse:
    """The answer that carries `error`."""
    headers = error.headers if isinstance(error, RequestError) else None
    return JSONResponse({"schema": 1, "error": error.problem().as_json()}, status_of(error), headers)


async def on_bacpack_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer an error that an endpoint raised."""
    assert isinstance(error, BacpackError)
    return error_response(error)


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """Answer a client that is gone, which nobody reads: without it each would leave a traceback in the log."""
    return Response(status_code=400)


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what no route serves: an unknown path, or a method that it does not take."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        return error_response(
            RequestError(
                "wrong-method",
                f"`{path}` does not take {request.method}",
                hint=f"it takes {(error.headers or {}).get('Allow', 'another method')}",
                status=405,
                headers=error.headers,
            )
        )
    return error_response(
        RequestError(
            "no-such-page",
            f"there is nothing at `{path}`",
            hint="the paths of a node are listed in the guide to it",
            status=error.status_code,
        )
    )
