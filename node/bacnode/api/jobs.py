"""`/api/v1/jobs`: having programs run, and what became of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bacnode.execution.job import MAX_SUBMISSION_BYTES, Submission, check_submission
from bacnode.execution.job_state import ENDED
from bacnode.http_server.body import read_json, wait_for_end
from bacnode.http_server.concurrency_limit import ConcurrencyLimit
from bacnode.http_server.errors import RequestError
from bacnode.jobs.database import Record
from bacnode.jobs.service import JobService
from bacnode.jobs.view import view
from bacnode.node_state import state_of

MAX_PAGE = 1000
_PIECE_BYTES = 64 << 10
#: Seconds between two looks at what a running program has printed: often while it prints, then less and less.
_LOOK_SECONDS, _SELDOM_SECONDS = 0.01, 0.2
_STREAMS = ("stdout", "stderr")


async def submit(request: Request) -> Response:
    """`POST /api/v1/jobs`: take a job in."""
    jobs = _jobs(request)
    with jobs.submitting:
        submission = await read_json(request, Submission, MAX_SUBMISSION_BYTES)
        check_submission(submission)
        record = await jobs.queue.submit(submission)
    return _json(record, 201, {"Location": f"/api/v1/jobs/{record.id}"})


async def list_jobs(request: Request) -> Response:
    """`GET /api/v1/jobs`: jobs, the newest first; `?state=`, `?limit=` and, for more, `?before=`."""
    jobs = _jobs(request)
    query = request.query_params
    count = number(query.get("limit", "100"), "limit", MAX_PAGE)
    before = number(query["before"], "before", 1 << 62) if "before" in query else None
    state = query.get("state")
    records = await jobs.queries.page(state, before, count)
    views = [msgspec.structs.replace(view(record), report=None) for record in records]
    body = {"schema": 1, "jobs": views, "next": records[-1].number if len(records) == count else None}
    return Response(msgspec.json.encode(body), media_type="application/json")


async def get_job(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}`: one job; with `?wait=S`, once it has ended or after so many seconds."""
    jobs = _jobs(request)
    record = await found(request, jobs)
    seconds = number(request.query_params.get("wait", "0"), "wait", 300)
    if seconds and (live := jobs.queries.live(record.id)):
        with jobs.following:
            gone = asyncio.create_task(wait_for_end(request.receive))
            try:
                await asyncio.wait([live.task, gone], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
    return _json(record)


async def cancel(request: Request) -> Response:
    """`DELETE /api/v1/jobs/{id}`: end it, if it has not ended."""
    jobs = _jobs(request)
    record = await found(request, jobs)
    await jobs.queue.cancel(record.id)
    return _json(await jobs.queries.find(record.id) or record)


async def logs(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/logs`: what it printed; `?stream=` one of the two, `?follow=1` until it ends."""
    jobs = _jobs(request)
    record = await found(request, jobs)
    query = request.query_params
    wanted = query.get("stream")
    if wanted is not None and wanted not in _STREAMS:
        raise RequestError("bad-request", f"a job has no stream `{wanted[:40]}`", hint="`stdout` or `stderr`")
    folder = jobs.queue.folder(record.id)
    paths = [folder.path / name for name in (_STREAMS if wanted is None else (wanted,))]
    follow = query.get("follow", "0") not in ("0", "")
    return _Printed(jobs.following, _printed(jobs, record, paths, follow=follow))


async def get_file(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/files/{path}`: an output that was asked for."""
    jobs = _jobs(request)
    record = await found(request, jobs)
    path = request.path_params["path"]
    # Only what is on the list: no path is put together from what a client sent.
    kept = next((file for file in record.ending.files if file.path == path), None)
    if kept is None:
        raise RequestError(
            "no-such-file",
            f"the job has left no file `{path[:200]}`",
            hint="`files` of the job lists what it left; name what to keep as `outputs`",
            status=404,
        )
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}",
        "Content-Security-Policy": "sandbox",
    }
    location = jobs.queue.folder(record.id).outputs.joinpath(*kept.path.split("/"))
    return FileResponse(location, media_type="application/octet-stream", headers=headers)


async def metrics(request: Request) -> Response:
    """`GET /metrics`: counts and times for Prometheus."""
    node = state_of(request)
    node.access.require_job(request)
    return Response(node.jobs.metrics.text(), media_type=CONTENT_TYPE_LATEST)


class _Printed(StreamingResponse):
    """An answer that follows a job: it counts from before its first byte, however it ends."""

    def __init__(self, limit: ConcurrencyLimit, printed: AsyncIterator[bytes]) -> None:
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        super().__init__(printed, headers=headers, media_type="text/plain; charset=utf-8")
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises `RequestError` (`too-busy`) before anything is sent."""
        with self._limit:
            await super().__call__(scope, receive, send)


async def _printed(jobs: JobService, record: Record, paths: list[Path], *, follow: bool) -> AsyncIterator[bytes]:
    read = [0] * len(paths)
    pause = _LOOK_SECONDS
    while True:
        # Looked at before reading: what is printed up to the end is then read, too.
        ended = record.state in ENDED or jobs.queries.live(record.id) is None
        came = False
        attempts = record.attempts
        for position, path in enumerate(paths):
            while piece := await jobs.queue.executor.in_thread(partial(_piece, path, read[position])):
                read[position] += len(piece)
                came = True
                yield piece
        if ended or not follow:
            return
        pause = _LOOK_SECONDS if came else min(pause * 1.2, _SELDOM_SECONDS)
        if not came:
            await asyncio.sleep(pause)
        if record.attempts != attempts:
            # It began anew.
            read = [0] * len(paths)


def _piece(path: Path, at: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, _PIECE_BYTES, at)
    finally:
        os.close(descriptor)


def _jobs(request: Request) -> JobService:
    node = state_of(request)
    node.access.require_job(request)
    return node.jobs


async def found(request: Request, jobs: JobService) -> Record:
    """Return the job that the path names; raises `RequestError` (`no-such-job`)."""
    job = request.path_params["id"]
    record = await jobs.queries.find(job)
    if record is None:
        raise RequestError(
            "no-such-job",
            f"there is no job `{job[:64]}`",
            hint="`/jobs` and `/api/v1/jobs` list them",
            status=404,
        )
    return record


def number(text: str, name: str, most: int) -> int:
    """Return a number in a query, no more than `most`; raises `RequestError` (`bad-request`)."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        raise RequestError("bad-request", f"`{name}` is `{text[:40]}`, no number", hint="write digits")
    return min(int(text), most)


def _json(record: Record, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(view(record)), status, headers, media_type="application/json")


ROUTES = [
    Route("/metrics", metrics, methods=["GET"]),
    Route("/api/v1/jobs", submit, methods=["POST"]),
    Route("/api/v1/jobs", list_jobs, methods=["GET"]),
    Route("/api/v1/jobs/{id}", get_job, methods=["GET"]),
    Route("/api/v1/jobs/{id}", cancel, methods=["DELETE"]),
    Route("/api/v1/jobs/{id}/logs", logs, methods=["GET"]),
    Route("/api/v1/jobs/{id}/files/{path:path}", get_file, methods=["GET"]),
]
