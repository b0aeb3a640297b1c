"""What tests of content share: the real command, and implementations of others to compare with."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.dag_pb import Link, encode_node
from bacpack.content.unixfs.nodes import Kind, UnixFsData, encode_data
from commands import command, environment
from packages import NODE
from wanting import npm

REPOSITORY = Path(__file__).parents[2]

Blocks = dict[Cid, bytes]


class Bacpack:
    """The real command, with a store of its own."""

    def __init__(self, home: Path, before: Sequence[str] = ()) -> None:
        """`before` are words of a command that runs ours."""
        self.home = home
        self.environment = environment(home)
        self._before = before

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._before, *command(*arguments)],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ok(self, *arguments: object) -> dict[str, Any]:
        """Run with `--json`; the command must succeed. Return what it printed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        result: dict[str, Any] = json.loads(done.stdout)
        assert result.pop("schema") == 1
        return result

    def fails(self, status: int, code: str, *arguments: object) -> dict[str, Any]:
        """Run with `--json`; the command must fail so, with a hint. Return the error."""
        done = self.run(*arguments, "--json")
        assert done.returncode == status, (done.stdout, done.stderr)
        error: dict[str, Any] = json.loads(done.stdout)["error"]
        assert error["code"] == code, error
        assert error["hint"]
        return error

    def files(self) -> list[str]:
        """Every file in the store's folder, but the database's own, relative to it."""
        found = (path.relative_to(self.home) for path in self.home.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if not path.name.startswith(("store.sqlite3", "lock")))


class Oracles:
    """`@ipld/car`, `ipfs-car` and `ipfs-unixfs-importer` from npm, installed once for all tests."""

    def __init__(self) -> None:
        self.folder = npm("npm")

    def ask(self, *arguments: object, stdin: str = "") -> Any:
        """Run the script beside the packages and return what it says."""
        return json.loads(self._run("oracle.mjs", *arguments, stdin=stdin).stdout)

    def ipfs_car(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self._run("node_modules/ipfs-car/bin.js", *arguments, check=False)

    def _run(
        self, script: str, *arguments: object, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        line = [NODE, str(self.folder / script), *map(str, arguments)]
        return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=300, check=check)


def raw(data: bytes) -> tuple[Cid, bytes]:
    return Cid.of_raw(data), data


def node(links: Mapping[str, Cid], data: UnixFsData | None = None) -> tuple[Cid, bytes]:
    """A dag-pb block with these links; a directory unless `data` says otherwise."""
    block = encode_node(
        encode_data(data or UnixFsData(Kind.DIRECTORY)), [Link(cid, name, 1) for name, cid in links.items()]
    )
    return Cid.of_block(0x70, block), block


def chacha20(seed: str, count: int) -> bytes:
    """The keystream that the published CIDs of IPIP-499 are of: key sha256(seed), nonce 0 (RFC 8439)."""
    key = hashlib.sha256(seed.encode()).digest()
    constants = tuple(int.from_bytes(b"expand 32-byte k"[i : i + 4], "little") for i in range(0, 16, 4))
    start = (*constants, *(int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)))
    stream = bytearray()
    for counter in range((count + 63) // 64):
        stream += _chacha20_block((*start, counter, 0, 0, 0))
    return bytes(stream[:count])


_ROUND: Sequence[tuple[int, int, int, int]] = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def _chacha20_block(start: tuple[int, ...]) -> bytes:
    mask = 0xFFFFFFFF
    x = list(start)
    for _ in range(10):
        for a, b, c, d in _ROUND:
            xa, xb, xc, xd = x[a], x[b], x[c], x[d]
            xa = xa + xb & mask
            xd ^= xa
            xd = (xd << 16 | xd >> 16) & mask
            xc = xc + xd & mask
            xb ^= xc
            xb = (xb << 12 | xb >> 20) & mask
            xa = xa + xb & mask
            xd ^= xa
            xd = (xd << 8 | xd >> 24) & mask
            xc = xc + xd & mask
            xb ^= xc
            xb = (xb << 7 | xb >> 25) & mask
            x[a], x[b], x[c], x[d] = xa, xb, xc, xd
    return b"".join((word + first & mask).to_bytes(4, "little") for word, first in zip(x, start, strict=True))
