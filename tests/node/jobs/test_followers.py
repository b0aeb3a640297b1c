"""Answers that follow a job are bounded, and a client that goes away leaves its place to others."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from bacnode.app.app import create_app
from bacnode.execution.grants import local_grants
from bacnode.execution.job import Limits, Submission
from bacnode.jobs.service import MAX_FOLLOWING
from bacnode.node_state import open_node
from node.jobs import programs
from node.jobs.harness import JobNode
from waiting import until


async def statuses(app: Any, path: str, query: bytes, count: int) -> list[int]:
    """Ask so many times, as a client that is gone before the answer begins; return the statuses of the answers."""
    found: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET", "path": path,
        "raw_path": path.encode(), "query_string": query, "client": ("127.0.0.1", 1), "scheme": "http",
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    for _ in range(count):
        await app(scope, receive, send)
    return found


def test_a_client_that_goes_before_the_first_byte_of_the_log_leaves_its_place(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    node.access.is_local = True
    try:
        granted = local_grants(1, 1, None).grant(Limits())
        node.jobs.queue.database.add("job", Submission(ref="bafkqaaa"), granted)
        found = asyncio.run(statuses(create_app(node), "/api/v1/jobs/job/logs", b"follow=1", MAX_FOLLOWING + 1))
    finally:
        node.close()
    # What the answers would begin with: they end before it is sent.
    assert set(found) <= {200}
    with node.jobs.following:
        pass


def test_clients_that_go_while_they_wait_for_a_job_leave_their_places(node: JobNode) -> None:
    job = node.submit(programs.endless())
    waiting = []
    for _ in range(MAX_FOLLOWING):
        client = socket.create_connection(("127.0.0.1", node.port), 10)
        client.sendall(f"GET /api/v1/jobs/{job}?wait=300 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        waiting.append(client)
    path = f"/api/v1/jobs/{job}/logs"
    until(lambda: node.get(path).status == 429, "all places are taken", pause=0.01)
    for client in waiting:
        client.close()
    until(lambda: node.get(path).status == 200, "a place is free", pause=0.01)
    assert node.ask("DELETE", f"/api/v1/jobs/{job}").json["state"] == "cancelled"
