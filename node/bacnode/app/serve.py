"""Running a node: a socket, the application behind it, and an orderly end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from bacnode.app.app import create_app
from bacnode.http_server.auth import is_loopback
from bacnode.http_server.logs import LogFormat, start_logs
from bacnode.http_server.middleware import MiddlewareOptions
from bacnode.http_server.protocol import LimitedProtocol, Server
from bacnode.jobs.service import JobOptions
from bacnode.node_state import NodeState, open_node
from bacnode.peers.peer_book import PeerOptions
from bacpack.advisories import unsafe_engine
from bacpack.errors import InputError
from bacpack.files import explain_os_error

log = logging.getLogger("bacnode.service")

#: Seconds that requests under way have to end when the node is told to.
_SHUTDOWN_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 lets the system choose."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; raises `InputError` (`bad-address`)."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535 or not host.isprintable():
        raise InputError(
            "bad-address",
            f"`{text}` is no address to listen on",
            hint="write HOST:PORT, such as 127.0.0.1:8301 or [::1]:8301; port 0 takes any that is free",
            details={"address": text},
        )
    return Address(host or "127.0.0.1", int(port))


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How the process lives with the one that started it."""

    log_format: LogFormat = "plain"
    #: Descriptor of a socket that has its address already, in place of one of its own.
    listening: int | None = None
    #: Descriptor of a pipe: the node ends when nobody holds its other end any more.
    while_open: int | None = None


def serve(
    address: Address,
    folder: Path,
    peers: PeerOptions,
    on_ready: Callable[[str, str], None],
    options: JobOptions | None = None,
    middleware: MiddlewareOptions | None = None,
    process: ProcessOptions | None = None,
) -> None:
    """Run a node until SIGTERM or SIGINT; `on_ready` is given its URL and peer ID once it accepts requests.

    Raises `InputError` (`cannot-listen`), and what `open_node` raises.
    """
    middleware, process = middleware or MiddlewareOptions(), process or ProcessOptions()
    if process.while_open is not None:
        _end_with(process.while_open)
    listening = _listen(address) if process.listening is None else socket.socket(fileno=process.listening)
    try:
        node = open_node(folder, peers, options)
        try:
            node.url = _url(listening)
            node.access.is_local = address.is_loopback
            start_logs(process.log_format, requests=middleware.log_requests)
            _heed_holes(node)
            config = uvicorn.Config(
                create_app(node, middleware),
                http=LimitedProtocol,
                loop=_loop(),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
            Server(config, lambda: on_ready(node.url, node.identity.peer_id)).run([listening])
        finally:
            node.close()
    finally:
        listening.close()


def _heed_holes(node: NodeState) -> None:
    """Say what holes the engine is known to have, and run no jobs of others with it."""
    unsafe = unsafe_engine("this node runs no jobs while others can reach it")
    if unsafe is not None:
        node.known_holes = unsafe.details["advisories"]
        if not node.access.is_local:
            node.jobs.queue.refusal = unsafe
        log.warning("the engine has known holes", extra={"about": {"holes": node.known_holes, "mend": unsafe.hint}})


def _end_with(descriptor: int) -> None:
    """End this process in an orderly way when the other end of a pipe is closed, and at the latest a while after."""

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_SHUTDOWN_SECONDS * 2)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _listen(address: Address) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = explain_os_error(error, f"listen on {address.host}:{address.port}").message
        raise InputError(
            "cannot-listen",
            reason,
            hint="choose another address with --listen; port 0 takes any that is free",
            details={"host": address.host, "port": address.port},
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _loop() -> str:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return "asyncio"
    return "uvloop"
