"""A worker of Dask that writes all that it sends over any connection to the file that `SENT` names."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

from bacnode.schedulers.dask import worker_main

_lock = threading.Lock()


def record(path: Path) -> None:
    """Write down what goes out; each way that Python has to send ends in one of these."""
    sent = path.open("ab", buffering=0)

    def noted(name: str) -> None:
        at_once = getattr(socket.socket, name)

        def send(self: socket.socket, data: Any, *rest: Any) -> Any:
            result = at_once(self, data, *rest)
            body = b"".join(bytes(part) for part in data) if name == "sendmsg" else bytes(data)
            with _lock:
                sent.write(body if name == "sendall" else body[:result])
            return result

        setattr(socket.socket, name, send)

    for name in ("send", "sendall", "sendmsg"):
        noted(name)


if __name__ == "__main__":
    record(Path(os.environ["SENT"]))
    worker_main.main()
