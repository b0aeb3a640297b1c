"""Run by `test_networks` in a network of its own: two nodes, each in another network, with a wire between them.

Prints what came of it as JSON. Needs the right to make networks.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bacpack.content.cid.cid import Cid
from node.jobs import programs
from node.peers.harness import tower
from node.serving import keep
from waiting import PATIENCE, line_of, until


class Far:
    """A node in a network of its own; asked by processes in that."""

    def __init__(self, store: Path, address: str, end: str) -> None:
        self.address = address
        self._holder = subprocess.Popen(["unshare", "-n", "sleep", "300"])
        until(lambda: _network(self._holder.pid) != _network(os.getpid()), "there is another network")
        _run("ip", "link", "set", end, "netns", str(self._holder.pid))
        self.inside = ["nsenter", "-t", str(self._holder.pid), "-n"]
        for line in (f"address add {address}/24 dev {end}", "link set lo up", f"link set {end} up"):
            _run(*self.inside, "ip", *line.split())
        _run(*self.inside, "ip", "route", "add", "default", "dev", end)
        line = [sys.executable, "-m", "bacpack.cli", "node", "serve", "--listen", f"{address}:8301", "--mdns"]
        self._process = subprocess.Popen(
            [*self.inside, *line, "--store", str(store)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.ready = json.loads(line_of(self._process.stdout, "a node is ready"))
        self.token = (store / "node-token").read_text().strip()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask from within the node's network."""
        line = [
            *self.inside,
            sys.executable,
            "-m",
            __spec__.name,
            "ask",
            f"{self.address}:8301",
            method,
            path,
            self.token,
        ]
        done = subprocess.run([*line, json.dumps(body)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def run(self, ref: str) -> Any:
        job = self.ask("POST", "/api/v1/jobs", {"ref": ref})["id"]
        until(lambda: self.ask("GET", f"/api/v1/jobs/{job}?wait=10")["finished"], "the job ends")
        return self.ask("GET", f"/api/v1/jobs/{job}")

    def stop(self) -> int:
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(20)

    def end(self) -> int:
        """End the network as well; the wire goes with it."""
        status = self.stop()
        self._holder.kill()
        self._holder.wait(PATIENCE)
        return status


def _network(process: int) -> Path:
    return Path(f"/proc/{process}/ns/net").readlink()


def _run(*line: str) -> None:
    subprocess.run(line, check=True)


def _ask(where: str, method: str, path: str, token: str, body: str) -> None:
    connection = http.client.HTTPConnection(where, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, body if body != "null" else None, headers)
    print(connection.getresponse().read().decode())


def main(folder: Path) -> None:
    _run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
    a = Far(folder / "a", "10.77.0.1", "near")
    b = Far(folder / "b", "10.77.0.2", "far")
    try:
        modules = tower(3)
        program = programs.user_of(str(Cid.of_raw(modules[-1])))
        keep(folder / "a", {Cid.of_raw(data): data for data in (*modules, program)})
        ref = str(Cid.of_raw(program))
        until(lambda: any(peer["present"] for peer in b.ask("GET", "/api/v1/peers")["peers"]), "they find each other")
        first = b.run(ref)
        a.stop()
        again = b.run(ref)
        peers = b.ask("GET", "/api/v1/peers")["peers"]
    finally:
        statuses = [node.end() for node in (a, b)]
    print(json.dumps({"a": a.ready, "b": b.ready, "first": first, "again": again, "peers": peers, "ended": statuses}))


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        _ask(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
