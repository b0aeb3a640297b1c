"""A pinning service that holds each request against the rules of the Pinning Service API 1.0.0."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from bacpack.content.cid.cid import Cid
from publish.stand import Reply, Request, Stand

STATES = ("queued", "pinning", "pinned", "failed")
DELEGATE = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWDfxnwvu8YKjtjHezFX5gkm3QQ6qGjCqA1tkJy2C6BqhM"
MULTIADDR = re.compile(
    r"(/(ip4/[0-9.]+|ip6/[0-9a-f:]+|dns[46]?/[a-z0-9.-]+)(/(tcp|udp)/[0-9]+)(/(quic-v1|ws|wss|tls|webtransport))*)?"
    r"/p2p/[1-9A-HJ-NP-Za-km-z]{46,}"
)


class PinningStand(Stand):
    """`path` leads a pin through states: one for each time that it is looked at."""

    def __init__(self, token: str = "secret", path: tuple[str, ...] = ("queued", "pinning", "pinned")) -> None:
        super().__init__()
        self.token = token
        self.path = path
        self.details = ""
        self.pins: dict[str, dict[str, object]] = {}
        #: Called when a pin is asked for: the service begins to fetch.
        self.on_pin: Callable[[dict[str, object]], None] = lambda _pin: None

    def reply(self, request: Request) -> Reply:
        assert request.headers.get("accept", "*/*") in ("application/json", "*/*")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return failure(401, "UNAUTHORIZED", "Access token is missing or invalid")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["psa", "pins"]:
                return self._list(request)
            case "POST", ["psa", "pins"]:
                return self._add(request)
            case "GET", ["psa", "pins", requestid]:
                assert not request.query
                if requestid not in self.pins:
                    return failure(404, "NOT_FOUND", "The specified resource was not found")
                return answer(200, self._look(requestid))
        return failure(404, "NOT_FOUND", "no such path")

    def _list(self, request: Request) -> Reply:
        known = {"cid", "name", "match", "status", "before", "after", "limit", "meta"}
        assert {name for name, _ in request.query} <= known, request.query
        cids = request.one("cid").split(",")
        assert 1 <= len(cids) <= 10
        assert len(set(cids)) == len(cids)
        wanted = {Cid.parse(cid) for cid in cids}
        states = request.one("status", "pinned").split(",")
        assert set(states) <= set(STATES)
        assert len(set(states)) == len(states)
        assert 1 <= int(request.one("limit", "10")) <= 1000
        found = [
            pin
            for pin in map(self._look, list(self.pins))
            if Cid.parse(pin["pin"]["cid"]) in wanted and pin["status"] in states  # type: ignore[index]
        ]
        return answer(200, {"count": len(found), "results": found[: int(request.one("limit", "10"))]})

    def _add(self, request: Request) -> Reply:
        assert request.headers["content-type"] == "application/json"
        assert not request.query
        pin = json.loads(request.body)
        assert isinstance(pin, dict)
        assert set(pin) <= {"cid", "name", "origins", "meta"}, pin
        assert isinstance(pin["cid"], str)
        Cid.parse(pin["cid"])
        assert len(pin.get("name", "")) <= 255
        origins = pin.get("origins", [])
        assert len(origins) <= 20
        assert len(set(origins)) == len(origins)
        for origin in origins:
            assert MULTIADDR.fullmatch(origin), origin
        requestid = f"request-{len(self.pins)}"
        self.pins[requestid] = {"pin": pin, "seen": 0}
        self.on_pin(pin)
        return answer(202, self._look(requestid))

    def _look(self, requestid: str) -> dict[str, object]:
        entry = self.pins[requestid]
        seen = entry["seen"]
        assert isinstance(seen, int)
        entry["seen"] = seen + 1
        status: dict[str, object] = {
            "requestid": requestid,
            "status": self.path[min(seen, len(self.path) - 1)],
            "created": f"2026-11-22T20:00:0{len(self.pins)}.000Z",
            "pin": entry["pin"],
            "delegates": [DELEGATE],
        }
        if self.details:
            status["info"] = {"status_details": self.details}
        return status


def answer(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def failure(status: int, reason: str, details: str) -> Reply:
    return answer(status, {"error": {"reason": reason, "details": details}})
