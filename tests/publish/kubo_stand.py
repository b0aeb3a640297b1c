"""A stand-in for the six calls of Kubo's RPC that are used: it answers as Kubo 0.43 does, odd cases included.

`make interop` compares its answers with those of a real one. It is stricter in what it takes:
an option that it does not know is a violation, where Kubo would ignore it.
"""

from __future__ import annotations

import email.parser
import email.policy
import io
import json
import re

from bacpack.content.car import CarReader
from bacpack.content.cid.block import MAX_BLOCK_BYTES, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.links import read_dag
from bacpack.errors import BacpackError
from publish.stand import Reply, Request, Stand

OPTIONS = {
    "version": set[str](),
    "id": set[str](),
    "dag/import": {"pin-roots", "stats"},
    "pin/ls": {"type"},
    "pin/add": {"recursive", "name", "offline"},
    "block/stat": {"offline"},
}
PEER = "12D3KooWDfxnwvu8YKjtjHezFX5gkm3QQ6qGjCqA1tkJy2C6BqhM"


class KuboStand(Stand):
    def __init__(self, *, version: str = "0.43.1", authorization: str = "", addresses: list[str] | None = None) -> None:
        super().__init__()
        self.version = version
        self.authorization = authorization
        self.addresses = addresses
        self.blocks: dict[Cid, bytes] = {}
        #: Root to name.
        self.pins: dict[Cid, str] = {}
        #: Blocks that garbage collection takes between the question and the import.
        self.collected: list[Cid] = []
        #: What the trailer of an import says.
        self.stream_error = ""
        #: What the import says of the pin, whatever it did.
        self.pin_error = ""
        #: What an import fails with before it has read anything.
        self.import_error = ""
        self.stats = True

    @property
    def car_bytes(self) -> int:
        """Bytes of all CAR files that came."""
        return sum(len(request.body) for request in self.requests if request.path.endswith("dag/import"))

    def reply(self, request: Request) -> Reply:
        if request.method != "POST":
            return Reply(405, b"405 - Method Not Allowed", {"Allow": "OPTIONS, POST"})
        if "origin" in request.headers:
            return Reply(403, b"403 - Forbidden")
        if self.authorization and request.headers.get("authorization") != self.authorization:
            return Reply(
                403, b"Kubo RPC Access Denied: Please provide a valid authorization token as defined in config"
            )
        if re.search("/(kubo|go-ipfs)/", request.headers.get("user-agent", "")):
            return Reply(400, b"client version mismatch")
        command = request.path.removeprefix("/api/v0/")
        if command not in OPTIONS:
            return Reply(404, b"404 page not found", {"Content-Type": "text/plain; charset=utf-8"})
        unknown = {name for name, _ in request.query} - OPTIONS[command] - {"arg"}
        assert not unknown, f"unknown options {unknown}"
        match command:
            case "version":
                return json_reply({"Version": self.version, "Commit": "", "Repo": "18", "System": "amd64/linux"})
            case "id":
                return json_reply({"ID": PEER, "Addresses": self.addresses, "AgentVersion": f"kubo/{self.version}"})
            case "dag/import":
                return self._import(request)
            case "pin/ls":
                return self._pin_ls(request)
            case "pin/add":
                return self._pin_add(request)
        return self._stat(request)

    def _import(self, request: Request) -> Reply:
        if self.import_error:
            return failure(self.import_error)
        for cid in self.collected:
            self.blocks.pop(cid, None)
        self.collected = []
        reader = CarReader(io.BytesIO(one_file(request)), "the CAR")
        assert reader.version == 1, "versions before 0.41 cannot read CAR version 2 from a stream"
        came: dict[Cid, bytes] = {}
        try:
            for cid, block in reader:
                assert len(block) <= MAX_BLOCK_BYTES
                assert not cid.is_identity
                came[cid.to_v1()] = block
        except BacpackError as error:
            return failure(f"import failed: {error.message}")
        assert came, "there is nothing in the CAR"
        self.blocks |= came
        entries: list[object] = []
        for root in reader.roots:
            problem = self.pin_error or self._missing(root)
            if not problem:
                self.pins[root.to_v1()] = ""
            entries.append({"Root": {"Cid": {"/": str(root)}, "PinErrorMsg": problem}})
        if self.stats and request.one("stats") == "true":
            size = sum(len(block) for block in came.values())
            entries.append({"Stats": {"BlockCount": len(came), "BlockBytesCount": size}})
        body = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        headers = {"Content-Type": "application/json", "Trailer": "X-Stream-Error", "X-Chunked-Output": "1"}
        return Reply(200, body, headers, {"X-Stream-Error": self.stream_error} if self.stream_error else {})

    def _missing(self, root: Cid) -> str:
        try:
            for _ in read_dag(self._get, [root]):
                pass
        except MissingBlockError as error:
            return f"block was not found locally (offline): ipld: could not find {error.cid}"
        return ""

    def _get(self, cid: Cid) -> bytes:
        if cid.to_v1() not in self.blocks:
            raise MissingBlockError(cid)
        return self.blocks[cid.to_v1()]

    def _pin_ls(self, request: Request) -> Reply:
        cid = Cid.parse(request.one("arg"))
        assert request.one("type") == "recursive"
        if cid.to_v1() not in self.pins:
            return failure(f"path '{cid}' is not pinned")
        return json_reply({"Keys": {str(cid): {"Type": "recursive", "Name": ""}}})

    def _pin_add(self, request: Request) -> Reply:
        cid = Cid.parse(request.one("arg"))
        assert request.one("recursive") == "true"
        assert request.one("offline") == "true", "without it Kubo searches the network for what is missing, and hangs"
        if len(request.one("name").encode()) > 255:
            return failure("pin name is 256 bytes (max 255)")
        if problem := self.pin_error or self._missing(cid):
            return failure(f"pin: {problem}")
        self.pins[cid.to_v1()] = request.one("name")
        return json_reply({"Pins": [str(cid)]})

    def _stat(self, request: Request) -> Reply:
        assert request.one("offline") == "true", "without it Kubo searches the network for the block, and hangs"
        cid = Cid.parse(request.one("arg"))
        block = self.blocks.get(cid.to_v1())
        if block is None:
            return failure(f"block was not found locally (offline): ipld: could not find {cid}")
        return json_reply({"Key": str(cid), "Size": len(block)})


def one_file(request: Request) -> bytes:
    """The one file in a multipart body, read by Python's own parser."""
    kind = request.headers["content-type"]
    assert kind.startswith("multipart/form-data; boundary="), kind
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.body)
    assert not message.defects, message.defects
    parts = list(message.iter_parts())
    assert len(parts) == 1
    assert parts[0].get_content_type() == "application/octet-stream"
    assert parts[0].get_content_disposition() == "form-data"
    # Read from the bytes again: that parser is for mail, and changes the ends of lines.
    boundary = kind.partition("boundary=")[2].encode()
    head, _, rest = request.body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary + b"\r\n")
    data, end, after = rest.rpartition(b"\r\n--" + boundary + b"--")
    assert end
    assert after == b"\r\n"
    return data


def json_reply(value: object) -> Reply:
    return Reply(200, json.dumps(value).encode() + b"\n", {"Content-Type": "application/json"}, {})


def failure(message: str) -> Reply:
    body = json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode() + b"\n"
    return Reply(500, body, {"Content-Type": "application/json", "Trailer": "X-Stream-Error"}, {})
