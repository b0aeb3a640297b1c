"""What travels when a release is published again after one of its programs changed: 42 programs, to a real node.

One letter of a text in one program is changed. That program is split with the catalog of the release and published
with the 41 others; or all are split anew, with that catalog or without. The bytes are counted on the wire, with all
that HTTP and CAR add. What is split anew without a catalog has new modules, and all that import them change with them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from corpora import images
from measure import BACPACK, run, table
from nodes import running

#: A program of the set, and a text in it.
CHANGED, TEXT = "png-read-image.wasi.wasm", b"Read an image file"


class Counter:
    """A proxy to a port of this machine, which counts what goes up."""

    def __init__(self, port: int) -> None:
        self.up = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.up += len(data) if upwards else 0
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def counted_node(folder: Path) -> Iterator[Counter]:
    """Start a node with a store in `folder`, and let this process publish to it."""
    with running(folder) as node:
        os.environ["BACPACK_NODE_TOKEN"] = (folder / "node-token").read_text().strip()
        yield Counter(node.address[1])


def changed(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copy the programs to `folder` and change one."""
    copies = [Path(shutil.copy(path, folder)) for path in paths]
    program = folder / CHANGED
    data = program.read_bytes()
    place = data.index(TEXT)
    program.write_bytes(data[:place] + TEXT.swapcase()[:1] + data[place + 1 :])
    return copies


def report() -> str:
    """Publish, publish again, publish what changed; describe it in Markdown."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "blobs").mkdir()
        paths = images().paths
        first, alone = folder / "first", folder / "alone"
        run([BACPACK, "split", *map(str, paths), "-o", str(first)])
        later = [str(path) for path in changed(paths, folder / "blobs")]
        with_catalog = ["--catalog", str(first), "-o"]
        run([BACPACK, "split", str(folder / "blobs" / CHANGED), *with_catalog, str(alone)])
        run([BACPACK, "split", *later, *with_catalog, str(folder / "anew")])
        run([BACPACK, "split", *later, "-o", str(folder / "bare")])
        others = [path for path in first.glob("*.wasm") if path.name != CHANGED]
        publishings: list[tuple[str, list[Path]]] = [
            ("all", [first]),
            ("the same again", [first]),
            ("one program split again", [*others, alone / CHANGED]),
            ("all split again with the catalog", [folder / "anew"]),
            ("all split again without", [folder / "bare"]),
        ]
        for number, (what, inputs) in enumerate(publishings):
            # Each goes to a node that has the first release and no other.
            with counted_node(folder / f"store-{number}") as counter:
                publish = [BACPACK, "publish", "--to", f"node:http://127.0.0.1:{counter.port}", "--json"]
                if number:
                    run([*publish, str(first)])
                before, started = counter.up, time.perf_counter()
                published = json.loads(run([*publish, *map(str, inputs)]).stdout)
                seconds = time.perf_counter() - started
                sent = counter.up - before
            sizes = [f"{size:,}" for size in (published["bytes"], published["new_bytes"], sent)]
            rows.append([what, *sizes, f"{100 * sent / published['bytes']:.1f} %", f"{seconds:.1f}"])
    heading = ["published", "release", "new blocks", "sent", "of the release", "seconds"]
    return f"## Publishing a release again\n\n{__doc__}\n" + table(heading, rows)


if __name__ == "__main__":
    sys.stdout.write(report() + "\n")
