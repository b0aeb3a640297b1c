"""Asking a pinning service to keep a release: https://ipfs.github.io/pinning-services-api-spec/ (1.0.0)

The service is told a CID and fetches the content itself, by bitswap, from the origins that are named or whom it finds.
So nothing is sent to it, and it can only pin what is on an IPFS node that it reaches.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from bacpack.content.cid.cid import BadCidError, Cid
from bacpack.publish.release.release import Release
from bacpack.publish.targets.service import Service, ServiceTarget
from bacpack.publish.targets.target import Missing, OnBlock, Sent, TargetError

_WANTED = ("queued", "pinning", "pinned")
_STATES = ("failed", *_WANTED)
#: Waits between two questions, in seconds: the first, by what each next is longer, the longest.
_FIRST_POLL, _POLL_GROWTH, _LONGEST_POLL = 0.25, 1.5, 15.0
_MAX_NAME, _MAX_ORIGINS = 255, 20


class PinningTarget(ServiceTarget):
    """A pinning service. `origins` returns the multiaddrs of nodes that have the content."""

    def __init__(self, service: Service, origins: Callable[[], Sequence[str]]) -> None:
        super().__init__(service)
        self._origins = origins

    def ask(self, release: Release) -> Missing:
        """Return whether the service keeps the root already, and what it was asked before."""
        self._service.restart()
        pin = self._find(release.root)
        if pin is None:
            return Missing()
        return Missing(pinned=pin["status"] == "pinned", facts={"requestid": pin["requestid"]})

    def send(self, release: Release, missing: Missing, on_block: OnBlock) -> Sent:
        """Ask for the root unless that was done before, and wait until it is pinned."""
        facts = dict(missing.facts)
        if missing.pinned:
            return Sent("pinned", facts=facts)
        if "requestid" not in facts:
            pin = self._request(release)
            facts["requestid"] = pin["requestid"]
        else:
            pin = self._look(release.root, facts["requestid"])
        wait = _FIRST_POLL
        while pin["status"] != "pinned":
            if pin["status"] == "failed":
                raise self._refused(pin)
            self._service.pause(wait, f": request {pin['requestid']} is {pin['status']}")
            wait = min(wait * _POLL_GROWTH, _LONGEST_POLL)
            pin = self._look(release.root, facts["requestid"])
        return Sent("pinned", facts=facts)

    def _request(self, release: Release) -> dict[str, Any]:
        body: dict[str, Any] = {"cid": str(release.root), "name": release.name[:_MAX_NAME]}
        if origins := list(self._origins())[:_MAX_ORIGINS]:
            body["origins"] = origins
        try:
            # Not sent again if the answer was lost, for that would make two requests of it.
            answer = self._service.call("POST", "/pins", body=body, again=False)
        except TargetError as error:
            if error.code != "target-unreachable":
                raise
            found = self._find(release.root)
            if found is None:
                raise
            return found
        return self._checked(self._service.expect(answer, 202), release.root)

    def _find(self, root: Cid) -> dict[str, Any] | None:
        """Return the request for the root that has come furthest, unless there is none or all have failed."""
        answer = self._service.call("GET", "/pins", params=[("cid", str(root)), ("status", ",".join(_WANTED))])
        value = self._service.expect(answer, 200)
        results = value.get("results")
        if not isinstance(results, list):
            raise self._not_api("a list of pins without `results`")
        pins = [self._checked(result, root) for result in results]
        return max(pins, key=lambda pin: _STATES.index(pin["status"]), default=None)

    def _look(self, root: Cid, request: str) -> dict[str, Any]:
        return self._checked(self._service.expect(self._service.call("GET", f"/pins/{request}"), 200), root)

    def _checked(self, value: Any, root: Cid) -> dict[str, Any]:
        """Return a pin's state if it is as the specification says, and of the root."""
        if not isinstance(value, dict) or value.get("status") not in _STATES:
            raise self._not_api("a pin without a known `status`")
        request = value.get("requestid")
        # It becomes part of a path.
        if not isinstance(request, str) or not request or not all(char.isalnum() or char in "-_.~" for char in request):
            raise self._not_api("a pin without a `requestid` that can be used")
        pin = value.get("pin")
        try:
            matches = isinstance(pin, dict) and Cid.parse(str(pin.get("cid"))).to_v1() == root.to_v1()
        except BadCidError:
            matches = False
        if not matches:
            raise self._not_api("a pin of something else")
        return value

    def _refused(self, pin: dict[str, Any]) -> TargetError:
        info = pin.get("info")
        said = info.get("status_details") if isinstance(info, dict) else None
        return self._service.error(
            "pin-failed",
            "the service could not pin it" + (f": {said}" if isinstance(said, str) and said else ""),
            "it fetches the content itself, by bitswap: publish to a Kubo that it can reach in the same command",
            {"requestid": pin["requestid"]},
        )

    def _not_api(self, what: str) -> TargetError:
        return self._service.error(
            "target-failed", f"it answers {what}", "is this the URL of an IPFS Pinning Service API 1.0.0?"
        )


def reachable(addresses: Sequence[str]) -> list[str]:
    """Return the multiaddrs that another machine may use; all of them if there are only those of this machine."""

    def is_own(address: str) -> bool:
        parts = address.split("/")
        try:
            return len(parts) > 2 and ipaddress.ip_address(parts[2]).is_loopback
        except ValueError:
            return False

    return [address for address in addresses if not is_own(address)] or list(addresses)
