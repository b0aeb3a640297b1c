"""Finding nodes on the local network, and being found, by multicast DNS: RFC 6762 and RFC 6763.

What is announced is believed no further than to ask there who it is; and only addresses are taken that are not public,
so that nobody on the network can make this node ask the world.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from zeroconf import InterfaceChoice, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from bacnode.peers.identity import PEER_ID

SERVICE = "_bacpack._tcp.local."
_ASK_MILLISECONDS = 3000
#: Questions about announced nodes that are under way at once; more announcements are not heard.
_QUESTIONS = 64
_ADDRESSES = 4


class LocalNetwork:
    """The nodes on the network of the address in `url`, which is where this node, of peer ID `own`, is reached.

    `on_found` is given the URL and peer ID of a node that is announced, `on_lost` the URL of one that left.
    """

    def __init__(
        self, own: str, url: str, on_found: Callable[[str, str], object], on_lost: Callable[[str], object]
    ) -> None:
        self._own = own
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._on_found = on_found
        self._on_lost = on_lost
        #: URLs of each announced service.
        self._urls: dict[str, tuple[str, ...]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Announce this node and begin to listen."""
        address = ipaddress.ip_address(self._host)
        everywhere = address.is_unspecified
        self._network = AsyncZeroconf(interfaces=InterfaceChoice.All if everywhere else [str(address)])
        addresses = _own_addresses() if everywhere else [str(address)]
        info = AsyncServiceInfo(
            SERVICE,
            f"{self._own}.{SERVICE}",
            port=self._port,
            properties={"id": self._own},
            server=f"{self._own[-20:].lower()}.local.",
            parsed_addresses=addresses,
        )
        # Its name is unique, so nobody is asked whether it is free.
        await self._network.async_register_service(info, cooperating_responders=True)
        self._browser = AsyncServiceBrowser(self._network.zeroconf, SERVICE, handlers=[self._heard])

    async def close(self) -> None:
        """Say that this node leaves."""
        for task in self._asking.values():
            task.cancel()
        await self._browser.async_cancel()
        await self._network.async_unregister_all_services()
        await self._network.async_close()

    def _heard(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if name == f"{self._own}.{SERVICE}":
            return
        asking = self._asking.pop(name, None)
        if asking is not None:
            asking.cancel()
        if state_change is ServiceStateChange.Removed:
            self._forget(name, ())
        elif len(self._asking) < _QUESTIONS:
            task = self._asking[name] = asyncio.create_task(self._ask(zeroconf, name))
            task.add_done_callback(lambda done: self._done(name, done))

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(name) is task:
            del self._asking[name]

    async def _ask(self, zeroconf: Zeroconf, name: str) -> None:
        info = AsyncServiceInfo(SERVICE, name)
        if not await info.async_request(zeroconf, _ASK_MILLISECONDS) or not info.port:
            return
        peer_id = (info.properties.get(b"id") or b"").decode("ascii", "replace")
        if not PEER_ID.fullmatch(peer_id) or peer_id == self._own:
            return
        addresses = [text for text in info.parsed_addresses() if _is_local(text)][:_ADDRESSES]
        urls = tuple(
            f"http://[{text}]:{info.port}" if ":" in text else f"http://{text}:{info.port}" for text in addresses
        )
        self._forget(name, urls)
        self._urls[name] = urls
        for url in urls:
            self._on_found(url, peer_id)

    def _forget(self, name: str, but: tuple[str, ...]) -> None:
        for url in self._urls.pop(name, ()):
            if url not in but:
                self._on_lost(url)


def _is_local(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return not address.is_global and not address.is_multicast and not address.is_unspecified


def _own_addresses() -> list[str]:
    import ifaddr

    found = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    # Link-local ones of IPv6 mean nothing without the name of an interface.
    return [
        text
        for text in dict.fromkeys(found)
        if not (ipaddress.ip_address(text).is_loopback or ipaddress.ip_address(text).is_link_local)
    ]
