"""Publishing to a Kubo through its RPC: https://docs.ipfs.tech/reference/kubo/rpc/

Kubo answers 200 to an import whose pin failed, and says what went wrong after 200 in a trailer: both are looked at. A
CAR file of version 1 is sent, since versions before 0.41 cannot read version 2 from a stream.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from bacpack.content.cid.cid import BadCidError, Cid
from bacpack.decode import DecodeError, decode_json
from bacpack.publish.release.release import Release
from bacpack.publish.targets.service import Answer, ServiceTarget
from bacpack.publish.targets.target import Missing, OnBlock, Sent, TargetError, blocks_of, bytes_of, car_of

#: How many questions are asked at once.
_WORKERS = 8
#: Pins have no names before this version.
_NAMES_SINCE = (0, 26)
#: The oldest version whose RPC is used here: from it on, an import can say how much it took in.
_OLDEST = (0, 9)
#: From this version on Kubo tells others at once what was published to it; before, in its next round, every 22 hours.
_ANNOUNCES_SINCE = (0, 39)
_MAX_NAME_BYTES = 255


class _Link(msgspec.Struct):
    text: str = msgspec.field(name="/")


class _Root(msgspec.Struct):
    cid: _Link = msgspec.field(name="Cid")
    error: str | None = msgspec.field(name="PinErrorMsg", default=None)


class _Stats(msgspec.Struct):
    blocks: int = msgspec.field(name="BlockCount")


class _Imported(msgspec.Struct):
    """A line of what an import answers: a root, or at the end how much there was."""

    root: _Root | None = msgspec.field(name="Root", default=None)
    stats: _Stats | None = msgspec.field(name="Stats", default=None)


class KuboTarget(ServiceTarget):
    """A Kubo, by the URL of its RPC."""

    def ask(self, release: Release) -> Missing:
        """Return what Kubo is missing: nothing if it has pinned the root, else each block that it does not hold."""
        self._service.restart()
        version = self._version()
        facts = {"version": version, "announces": (_parsed(version) or ()) >= _ANNOUNCES_SINCE}
        if self._is_pinned(release.root):
            return Missing(pinned=True, facts=facts)
        cids = blocks_of(release, release.sizes)
        with ThreadPoolExecutor(_WORKERS) as pool:
            stored = list(pool.map(self._holds, cids))
        return Missing(tuple(cid for cid, has in zip(cids, stored, strict=True) if not has), facts=facts)

    def send(self, release: Release, missing: Missing, on_block: OnBlock) -> Sent:
        """Import what is missing and pin the root; raises `TargetError`, also when only the pin failed."""
        if missing.pinned:
            return Sent("pinned", facts=missing.facts)
        sent: Sequence[Cid] = missing.cids
        if sent:
            problem = self._import(release, sent, on_block)
            everything = blocks_of(release, release.sizes)
            if problem and len(sent) < len(everything):
                # Its garbage collection may have taken blocks since it was asked: send all.
                sent = everything
                problem = self._import(release, sent, on_block)
            if problem:
                raise self._not_pinned(release.root, problem)
        self._name(release, missing.facts["version"], must=not sent)
        return Sent("pinned", len(sent), bytes_of(release, sent), missing.facts)

    def addresses(self) -> list[str]:
        """Return where others reach this Kubo, as multiaddrs that end in its peer ID."""
        answer = self._service.expect(self._call("id"), 200)
        peer, found = answer.get("ID"), answer.get("Addresses") or []
        if not isinstance(peer, str) or not isinstance(found, list):
            raise self._not_kubo()
        return [text if "/p2p/" in text else f"{text}/p2p/{peer}" for text in map(str, found)]

    def _version(self) -> str:
        answer = self._service.expect(self._call("version"), 200)
        version = answer.get("Version")
        if not isinstance(version, str) or _parsed(version) is None:
            raise self._not_kubo()
        if (_parsed(version) or ()) < _OLDEST:
            raise self._service.error("target-failed", f"it is Kubo {version}, which is too old", "update Kubo")
        return version

    def _is_pinned(self, root: Cid) -> bool:
        answer = self._call("pin/ls", [("arg", str(root)), ("type", "recursive")])
        if answer.status == 500 and b"not pinned" in answer.body:
            return False
        keys = self._service.expect(answer, 200).get("Keys") or {}
        try:
            return isinstance(keys, dict) and any(Cid.parse(text).to_v1() == root.to_v1() for text in keys)
        except BadCidError:
            raise self._not_kubo() from None

    def _holds(self, cid: Cid) -> bool:
        answer = self._call("block/stat", [("arg", str(cid)), ("offline", "true")])
        # It answers 500 to everything that fails. Whatever that was, to send the block repairs it or tells.
        return answer.status != 500 and bool(self._service.expect(answer, 200))

    def _import(self, release: Release, cids: Sequence[Cid], on_block: OnBlock) -> str:
        """Send blocks; return why the root could not be pinned, or nothing if it is."""
        boundary = f"bacpack-{os.urandom(16).hex()}"

        def multipart() -> Iterator[bytes]:
            yield (
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="release.car"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n"
            ).encode()
            yield from car_of(release, cids, on_block)
            yield f"\r\n--{boundary}--\r\n".encode()

        answer = self._service.call(
            "POST",
            "/api/v0/dag/import",
            params=[("pin-roots", "true"), ("stats", "true")],
            body=multipart,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
            slow=True,
        )
        if answer.status != 200:
            self._service.expect(answer, 200)
        return self._outcome(release.root, len(cids), answer)

    def _outcome(self, root: Cid, blocks: int, answer: Answer) -> str:
        """Read what an import answered; raises `TargetError` when it did not come to its end."""
        if answer.stream_error:
            raise self._service.error("target-failed", f"the import failed: {answer.stream_error}", "see its message")
        try:
            lines = [decode_json(line, _Imported) for line in answer.body.splitlines() if line.strip()]
            pins = {Cid.parse(line.root.cid.text).to_v1(): line.root.error or "" for line in lines if line.root}
        except (DecodeError, BadCidError):
            raise self._not_kubo() from None
        taken = next((line.stats.blocks for line in lines if line.stats), None)
        if root.to_v1() not in pins or taken is None:
            raise self._service.error(
                "target-failed", "the import ended before it was done", "see the log of Kubo, and publish again"
            )
        if taken != blocks:
            raise self._service.error(
                "target-failed", f"it took in {taken} blocks of {blocks}", "see the log of Kubo, and publish again"
            )
        return pins[root.to_v1()]

    def _name(self, release: Release, version: str, *, must: bool) -> None:
        """Pin the root under the name of the release: an import makes pins without one."""
        if not must and (_parsed(version) or ()) < _NAMES_SINCE:
            return
        name = release.name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
        answer = self._call(
            "pin/add",
            [("arg", str(release.root)), ("recursive", "true"), ("name", name), ("offline", "true")],
            slow=True,
        )
        if answer.status == 500:
            raise self._not_pinned(release.root, self._service.failed(answer, "it answers 500").message)
        self._service.expect(answer, 200)

    def _call(self, command: str, params: Sequence[tuple[str, str]] = (), *, slow: bool = False) -> Answer:
        answer = self._service.call("POST", f"/api/v0/{command}", params=params, slow=slow)
        if answer.status == 404:
            raise self._not_kubo()
        return answer

    def _not_kubo(self) -> TargetError:
        return self._service.error(
            "target-failed",
            "what answers there is no RPC of Kubo",
            "name the address of its RPC, which is `Addresses.API` in its configuration and not the gateway",
        )

    def _not_pinned(self, root: Cid, why: str) -> TargetError:
        details: Mapping[str, Any] = {"root": str(root)}
        return self._service.error("pin-failed", f"the root was not pinned: {why}", "publish again", details)


def _parsed(version: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)\.", version)
    return (int(found[1]), int(found[2])) if found else None
