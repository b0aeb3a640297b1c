"""What tests of peers share: releases of modules that stand one upon the other, and what a node says of its peers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from bacpack.content.cid.cid import Cid
from bacpack.content.unixfs.writer import Built, build_directory, build_file
from content.harness import Blocks
from node.harness import assemble
from node.jobs import programs
from node.jobs.harness import JobNode
from node.serving import keep


def tower(height: int, salt: int = 0) -> list[bytes]:
    """Modules each of which imports the one before; the last exports `number`, which is how many there are."""
    modules = [programs.library(1 + 1000 * salt)]
    while len(modules) < height:
        below = Cid.of_raw(modules[-1])
        modules.append(
            assemble(
                f'(module (import "{below}" "number" (func $below (result i32))) (func (export "number") (result i32)'
                " (i32.add (call $below) (i32.const 1))))"
            )
        )
    return modules


def release(node: JobNode, height: int) -> tuple[str, list[str]]:
    """Put a release of one program, upon so many modules, into a store; return its root and the modules' CIDs."""
    modules = tower(height)
    program = programs.user_of(str(Cid.of_raw(modules[-1])))
    blocks: Blocks = {}
    put: Callable[[Cid, bytes], object] = blocks.__setitem__

    def built(data: bytes) -> Built:
        return build_file(io.BytesIO(data), put)

    cids = [str(Cid.of_raw(module)) for module in modules]
    manifest = {
        "schema": 1,
        "apps": [
            {
                "name": "app", "blob": "app.wasm", "blob_cid": cids[0], "blob_bytes": 1, "path": "app.wasm",
                "cid": str(Cid.of_raw(program)), "bytes": len(program), "closure_bytes": 1, "imports": [cids[-1]],
                "verified": True,
            }
        ],
        "modules": [
            {"cid": cid, "path": f"modules/{cid}.wasm", "bytes": len(module), "kind": "shared", "users": ["app"]}
            for cid, module in zip(cids, modules, strict=True)
        ],
        "totals": {"blob_bytes": 1, "split_bytes": 1},
    }  # fmt: skip
    folder = build_directory({f"{cid}.wasm": built(module) for cid, module in zip(cids, modules, strict=True)}, put)
    entries = {"app.wasm": built(program), "bacpack.json": built(json.dumps(manifest).encode()), "modules": folder}
    root = build_directory(entries, put).cid
    keep(node.store, blocks)
    return str(root), cids


def large_module(node: JobNode, leaves: int) -> tuple[str, list[str]]:
    """Put a module of several blocks into a node's store; return its CID and those of the blocks below."""
    data = programs.hello()
    # A custom section: its size in five bytes, then an empty name.
    rest = (leaves - 1) * (1 << 20)
    size = bytes(((rest >> shift) & 0x7F) | (0x80 if shift < 28 else 0) for shift in range(0, 35, 7))
    blocks: Blocks = {}
    built = build_file(io.BytesIO(data + b"\0" + size + b"\0" + noise(rest - 1)), blocks.__setitem__)
    keep(node.store, blocks)
    return str(built.cid), [str(cid) for cid in blocks if cid != built.cid]


def noise(size: int) -> bytes:
    """Bytes of which no two parts are equal."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def peers(node: JobNode) -> dict[str, dict[str, Any]]:
    """What a node says of its peers, by URL."""
    return {peer["url"]: peer for peer in node.get("/api/v1/peers").json["peers"]}


def sources(job: dict[str, Any]) -> set[tuple[str, str]]:
    """Where a job's modules came from."""
    assert job["state"] == "done", job
    return {(module["source"], module["fetched_from"]) for module in job["report"]["modules"]}
