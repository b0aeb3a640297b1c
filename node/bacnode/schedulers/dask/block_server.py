"""Giving blocks to other workers: the one request of a trustless gateway that all of them make.

For workers that are no node. Whoever asks checks every byte against its CID, so that nothing here needs to be trusted.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.errors import BacpackError


class BlockServer:
    """Serves the blocks of a store at an address of this machine.

    `only` limits it to some.
    """

    def __init__(self, store: BlockStore, host: str = "127.0.0.1", *, only: Collection[Cid] | None = None) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self) -> None:
                block = owner.find(self.path, store, only)
                if block is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/vnd.ipld.raw")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Content-Length", str(len(block)))
                self.end_headers()
                self.wfile.write(block)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing of requests."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing of clients that went away."""

        self._server = Server((host, 0), Handler)
        port = self._server.server_address[1]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @staticmethod
    def find(path: str, store: BlockStore, only: Collection[Cid] | None) -> bytes | None:
        """Return the block that a request names; None if it is not here, or not for others."""
        parts = urlsplit(path).path.split("/")
        if len(parts) != 3 or parts[1] != "ipfs":
            return None
        try:
            cid = Cid.parse(parts[2]).to_v1()
            return store.get(cid) if only is None or cid in only else None
        except BacpackError:
            return None

    def close(self) -> None:
        """Serve nothing more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
