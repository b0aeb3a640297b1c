"""Addresses as libp2p writes them, and the URLs that they name."""

from __future__ import annotations

import pytest

from bacpack.ipfs_clients.multiaddr import of_url, to_url


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/ip4/10.0.0.1/tcp/8301/http", "http://10.0.0.1:8301"),
        ("/ip6/::1/tcp/80/http", "http://[::1]:80"),
        ("/dns4/node.example/tcp/443/tls/http", "https://node.example:443"),
        ("/dns/node.example/tcp/443/https", "https://node.example:443"),
        ("/ip4/10.0.0.1/tcp/8301", None),
        ("/ip4/10.0.0.1/udp/8301/quic-v1", None),
        ("/ip4/10.0.0.1/tcp/0/http", None),
        ("/ip4/10.0.0.1/tcp/99999/http", None),
        ("/ip4/::1/tcp/80/http", None),
        ("/dns4/a@b/tcp/80/http", None),
        ("/dns4/a b/tcp/80/http", None),
        ("/dns4//tcp/80/http", None),
        ("/ip4/10.0.0.1/tcp/80/http/p2p/x", None),
        ("", None),
    ],
)
def test_addresses_are_urls(address: str, url: str | None) -> None:
    assert to_url(address) == url
    if url is not None:
        assert to_url(of_url(url) or "") == url
