"""Publishing to a node of bacpack: it is asked which blocks are missing, gets those in CAR files, and pins the root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bacpack.content.cid.cid import Cid
from bacpack.publish.release.release import Release
from bacpack.publish.targets.service import Answer, ServiceTarget
from bacpack.publish.targets.target import Missing, OnBlock, Sent, TargetError, blocks_of, bytes_of, car_of

#: What a node takes in one request.
MAX_CIDS = 4096
MAX_CAR_BYTES, MAX_CAR_BLOCKS = 256 << 20, 1 << 16
#: More than a section of a CAR file adds to its block, and than its header is long.
_OVERHEAD = 256
_MAX_NAME = 255


class NodeTarget(ServiceTarget):
    """A node of bacpack, by its URL."""

    def ask(self, release: Release) -> Missing:
        """Return what the node is missing: nothing if it has pinned the root."""
        self._service.restart()
        answer = self._service.call("GET", self._pin(release))
        # A server that knows nothing of pins answers 404 too; the next question will tell.
        if answer.status != 404 and self._service.expect(answer, 200).get("mode") == "recursive":
            return Missing(pinned=True)
        return Missing(self._missing(release, blocks_of(release, release.sizes)))

    def send(self, release: Release, missing: Missing, on_block: OnBlock) -> Sent:
        """Send what is missing and pin the root."""
        if missing.pinned:
            return Sent("pinned")
        sent = self._send(release, missing.cids, on_block)
        answer = self._put(release)
        if answer.status == 409:
            # Its garbage collection may have taken blocks since it was asked: send those.
            collected = self._missing(release, blocks_of(release, release.sizes))
            sent += self._send(release, collected, on_block)
            answer = self._put(release)
        if answer.status == 409:
            raise self._service.error(
                "pin-failed",
                self._service.failed(answer, "the root was not pinned").message,
                "publish again",
                {"root": str(release.root)},
            )
        self._service.expect(answer, 200, 201)
        return Sent("pinned", len(sent), bytes_of(release, sent))

    def _missing(self, release: Release, cids: Sequence[Cid]) -> tuple[Cid, ...]:
        by_name = {str(cid): cid for cid in cids}
        names = list(by_name)
        missing: list[Cid] = []
        for start in range(0, len(names), MAX_CIDS):
            answer = self._service.call(
                "POST", "/api/v1/blocks/missing", body={"cids": names[start : start + MAX_CIDS]}
            )
            if answer.status in (404, 405):
                raise self._not_node()
            value = self._service.expect(answer, 200)
            found = value.get("missing")
            if not isinstance(found, list) or not all(name in by_name for name in found):
                raise self._not_node()
            missing += [by_name[name] for name in found]
        return blocks_of(release, missing)

    def _send(self, release: Release, cids: Sequence[Cid], on_block: OnBlock) -> tuple[Cid, ...]:
        done = 0
        for part in _parts(release, cids):

            def car(part: Sequence[Cid] = part, before: int = done) -> Iterator[bytes]:
                return car_of(release, part, lambda count, size: on_block(before + count, size))

            answer = self._service.call(
                "POST",
                "/api/v1/blocks",
                body=car,
                headers={"Content-Type": "application/vnd.ipld.car; version=1"},
                slow=True,
            )
            taken = self._service.expect(answer, 200, 201).get("blocks")
            if taken != len(part):
                why = f"it took in {taken} blocks of {len(part)}"
                raise self._service.error("target-failed", why, "see the log of the node, and publish again")
            done += len(part)
        return tuple(cids)

    def _put(self, release: Release) -> Answer:
        return self._service.call("PUT", self._pin(release), body={"name": release.name[:_MAX_NAME]}, slow=True)

    def _pin(self, release: Release) -> str:
        return f"/api/v1/pins/{release.root}"

    def _not_node(self) -> TargetError:
        return self._service.error(
            "target-failed", "what answers there is no node of bacpack", "name the URL that `bacpack node serve` prints"
        )


def _parts(release: Release, cids: Sequence[Cid]) -> Iterator[list[Cid]]:
    """Yield the blocks in lists of which each fits into one request."""
    part: list[Cid] = []
    size = _OVERHEAD
    for cid in cids:
        block_bytes = release.sizes[cid] + _OVERHEAD
        if part and (size + block_bytes > MAX_CAR_BYTES or len(part) == MAX_CAR_BLOCKS):
            yield part
            part, size = [], _OVERHEAD
        part.append(cid)
        size += block_bytes
    if part:
        yield part
