"""Clients of gateways, of Kubo's RPC and of routers: they verify what comes, and do not remember who sent it."""

from __future__ import annotations

from bacpack.ipfs_clients.answers import CarStream, NoCarError
from bacpack.ipfs_clients.gateway_client import GatewayClient, open_car_file
from bacpack.ipfs_clients.kubo_rpc import KuboRpc

__all__ = ["CarStream", "GatewayClient", "KuboRpc", "NoCarError", "open_car_file"]
