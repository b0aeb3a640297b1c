"""An HTTP server on loopback that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from serving import Quiet, Serving


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether to say how long the body is.
    sized: bool = True


class FileServer(Serving):
    """Answers by path, query included; everything else is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        owner = self

        class Own(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append((self.path, dict(self.headers)))
                answer = owner.answers.get(self.path, Answer(b"nothing here", 404))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.sized:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                try:
                    self.wfile.write(answer.body)
                except (BrokenPipeError, ConnectionResetError):
                    # The client had seen enough.
                    self.close_connection = True

        super().__init__(Own)

    def put(self, path: str, body: bytes) -> str:
        """Serve a body and return its URL."""
        self.answers[path] = Answer(body)
        return self.url + path

    def put_block(self, cid: str, block: bytes) -> None:
        """Serve a block as a peer does."""
        self.answers[f"/ipfs/{cid}?format=raw"] = Answer(block)
