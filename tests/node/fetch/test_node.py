"""From one machine to another: published here, served by a node, fetched and run there."""

from __future__ import annotations

import http.client
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from bacpack.content.cid.cid import Cid
from content.harness import Bacpack
from node.gateway_stand import Asked, Reply, Server
from node.harness import assemble, write_release
from node.serving import Node

LIBRARY = assemble('(module (func (export "seven") (result i32) (i32.const 7)))')
PROGRAM = assemble(
    f'(module (import "{Cid.of_raw(LIBRARY)}" "seven" (func $seven (result i32))) (func (export "_start")'
    " (if (i32.ne (call $seven) (i32.const 7)) (then unreachable))))"
)


class Relay(Server):
    """Passes requests on, and so sees them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._host = urlsplit(url).netloc

    def reply(self, asked: Asked) -> Reply:
        connection = http.client.HTTPConnection(self._host, timeout=20)
        connection.request(asked.method, asked.target, headers={**asked.headers, "Host": self._host})
        answer = connection.getresponse()
        headers = {"Content-Type": answer.headers["Content-Type"]}
        reply = Reply(answer.status, headers, answer.read(), "chunked")
        connection.close()
        return reply


def test_what_one_machine_publishes_another_fetches_in_one_request_and_runs(tmp_path: Path, serve: ExitStack) -> None:
    here, there, elsewhere = (Bacpack(tmp_path / name) for name in ("here", "there", "elsewhere"))
    app = write_release(tmp_path / "out", PROGRAM, LIBRARY)
    published = here.ok("publish", app)
    node = serve.enter_context(Node(here.home))
    relay = serve.enter_context(Relay(node.url))
    root, program = published["root"], published["apps"]["app"]

    fetched = there.ok("fetch", root, "--peer", relay.url)
    assert (fetched["roots"], fetched["blocks"], fetched["pinned"]) == ([root], published["blocks"], True)
    assert [asked.target for asked in relay.asked] == [f"/ipfs/{root}?format=car&dag-scope=all"]
    assert there.ok("verify", root)["ok"]
    assert there.run("run", program, "--offline").returncode == 0

    # A module that is lost there comes back by itself.
    there.environment["BACPACK_FETCH_PEER"] = relay.url
    (path,) = there.home.glob(f"blocks/*/{Cid.of_raw(LIBRARY)}")
    path.unlink()
    relay.asked.clear()
    assert there.ok("fetch", root)["new_bytes"] == len(LIBRARY)
    assert [asked.target for asked in relay.asked] == [f"/ipfs/{Cid.of_raw(LIBRARY)}?format=raw"]

    assert elsewhere.run("run", program, "--peer", node.url).returncode == 0
    error = elsewhere.fails(3, "incomplete", "fetch", str(Cid.of_raw(b"nobody has it")), "--peer", node.url)
    assert error["details"]["asked"] == [{"source": "peer", "url": node.url, "answer": "it does not have them"}]
