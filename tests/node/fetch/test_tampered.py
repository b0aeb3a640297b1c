"""Every request to a node, changed at random: an error of ours with a code, and nothing in the log."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

import soak
from bacpack.content.car.writer import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.unixfs.nodes import Kind, UnixFsData
from cli.test_corrupted import changed, tampered
from content.harness import node as dag_node
from node.jobs import programs
from node.jobs.harness import JobNode
from node.serving import CAR, Answer

#: Changes of each request in a normal run.
SAMPLES = 6


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobNode]:
    with JobNode(tmp_path_factory.mktemp("node") / "store", "--rate-limit", 100_000) as running:
        yield running


def check(answer: Answer, what: object) -> None:
    """No fault of ours; and what failed says why, as JSON."""
    assert answer.status < 500 or answer.status in (503, 507), (what, answer)
    if answer.status >= 400 and "json" in answer.headers.get("content-type", ""):
        assert answer.json["error"]["code"] and answer.json["error"]["message"], (what, answer)


def bodies(node: JobNode) -> dict[tuple[str, str], Any]:
    """A good body of each request that has one as JSON."""
    cid = node.add(programs.hello())
    limits = {"seconds": 1, "memory_bytes": 1 << 20, "output_bytes": 1000, "file_bytes": 1000, "files": 3}
    files = [{"path": "a/b", "text": "x"}, {"path": "c", "base64": "eA=="}, {"path": "d", "cid": cid}]
    job = {"ref": cid, "args": ["a"], "env": {"A": "b"}, "stdin": {"text": "x"}, "files": files, "outputs": ["out"],
           "limits": limits}  # fmt: skip
    source = {"Source": {"Type": "ipfs", "Params": {"CID": cid}}}
    task = {"Name": "main", "Engine": {"Type": "wasm"}, "InputSources": [source]}
    return {
        ("POST", "/api/v1/jobs"): job,
        ("POST", "/api/v1/bids"): {"ref": cid},
        ("POST", "/api/v1/bacalhau/probe"): {"Job": {"Tasks": [task]}},
        ("POST", "/api/v1/blocks/missing"): {"cids": [cid]},
        ("PUT", f"/api/v1/pins/{cid}"): {"name": "x"},
    }


def test_a_body_that_was_changed_is_an_error_of_ours(node: JobNode) -> None:
    chance = random.Random(soak.TIMES)
    headers = {"Authorization": f"Bearer {node.token}", "Content-Type": "application/json"}
    for (method, path), body in bodies(node).items():
        whole = json.dumps(body).encode()
        check(node.ask(method, path, whole, headers), (path, whole))
        for how in (changed, tampered):
            for _ in range(SAMPLES * soak.TIMES):
                data = how(whole, chance)
                check(node.ask(method, path, data, headers), (path, data))


def test_an_upload_that_was_changed_is_an_error_of_ours(node: JobNode) -> None:
    chance = random.Random(soak.TIMES)
    leaf = (Cid.of_raw(b"leaf"), b"leaf")
    file = dag_node({"": leaf[0]}, UnixFsData(Kind.FILE, block_sizes=(4,)))
    root = dag_node({"file": file[0], "leaf": leaf[0]})
    whole = b"".join(car_chunks([root[0]], [root, file, leaf]))
    headers = {"Authorization": f"Bearer {node.token}", **CAR}
    for _ in range(3 * SAMPLES * soak.TIMES):
        data = changed(whole, chance)
        check(node.ask("POST", "/api/v1/blocks", data, headers), data)


def test_an_address_that_was_changed_is_an_error_of_ours(node: JobNode) -> None:
    chance = random.Random(soak.TIMES)
    cid = node.add(programs.hello())
    headers = {"Authorization": f"Bearer {node.token}"}
    paths = f"""/ipfs/{cid}?format=raw /ipfs/{cid}?format=car&dag-scope=entity&entity-bytes=0:3 /api/v1/pins/{cid}
        /routing/v1/providers/{cid}?filter-protocols=unknown /routing/v1/peers/{node.peer_id} /modules/{cid}
        /jobs?state=done&page=2 /api/v1/jobs?wait=1&limit=3 /api/v1/jobs/x/logs?stream=stdout&follow=1
        /modules?kind=app&order=size /api/v1/modules?origin=x""".split()
    for path in paths:
        for _ in range(2 * SAMPLES * soak.TIMES):
            data = changed(path.encode(), chance)
            # As a client may write it: without spaces, which would end the address.
            address = "/" + "".join(chr(byte) if 0x21 <= byte < 0x7F else f"%{byte:02X}" for byte in data[1:2000])
            check(
                node.ask("GET", address, None, {**headers, "Accept": chance.choice(["text/html", "*/*", "x"])}), address
            )


def test_a_number_beyond_all_limits_is_an_error_of_ours(node: JobNode) -> None:
    for name in ("seconds", "memory_bytes", "fuel", "output_bytes", "file_bytes", "files"):
        for number in (2**63, 2**64, 10**400, -1):
            answer = node.try_submit(programs.hello(), limits={name: number})
            check(answer, (name, number))
            assert answer.status == 400 or name == "seconds", (name, number)
