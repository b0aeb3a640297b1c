"""What one job may reach over HTTP: URLs that modules name, and the sources on the network that a person named."""

from __future__ import annotations

from collections.abc import Sequence

from bacnode.fetch.remote_source import RemoteSource, peer
from bacnode.fetch.source import HoldUrl, Source
from bacpack.http_client import HttpClient, RequestPolicy
from bacpack.ipfs_clients import GatewayClient, KuboRpc

#: In which order the sources on the network are asked.
ORDER = ("peers", "gateways", "kubo")


class Web:
    """What one job may reach over HTTP: nothing, when `offline`.

    `peers`, `gateways` and `kubo` are URLs that a person named. `allow_private` lets modules name URLs at addresses
    that are not public; `hold_url` compares what such URLs give with what they gave before. No request outlasts
    `deadline`, a time of `time.monotonic`.
    """

    def __init__(
        self,
        peers: Sequence[str] = (),
        *,
        gateways: Sequence[str] = (),
        kubo: Sequence[str] = (),
        kubo_authorization: str | None = None,
        order: Sequence[str] = ORDER,
        offline: bool = False,
        allow_private: bool = False,
        hold_url: HoldUrl | None = None,
        policy: RequestPolicy | None = None,
        deadline: float | None = None,
    ) -> None:
        self.http = HttpClient(offline=offline, allow_private=allow_private, policy=policy, deadline=deadline)
        self.hold_url = hold_url
        self.peers = [peer(url, self.http) for url in peers if not offline]
        by_name: dict[str, Sequence[RemoteSource]] = {
            "peers": self.peers,
            "gateways": [
                RemoteSource("gateway", GatewayClient(self.http, url.rstrip("/"), "gateway"))
                for url in gateways if not offline
            ],
            "kubo": [
                RemoteSource("kubo", KuboRpc(self.http, url.rstrip("/"), kubo_authorization))
                for url in kubo if not offline
            ],
        }  # fmt: skip
        #: Those that a person named; what the order leaves out comes last.
        self.remotes = [remote for name in dict.fromkeys((*order, *ORDER)) for remote in by_name[name]]
        #: What programs read from.
        self.sources: Sequence[Source] = self.remotes

    def get(self, url: str, max_bytes: int, *, named_by_user: bool = False) -> bytes:
        """Return what `url` gives.

        Raises `UnreachableError` (`url-failed`, `url-private`, `offline`) or `InputError` (`too-large`).

        What a person typed may be at any address; what a module names may not.
        """
        with self.http.open("GET", url, any_address=named_by_user) as answer:
            answer.check()
            return answer.read(max_bytes, self.http.policy.answer)
