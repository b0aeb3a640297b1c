"""Clients of gateways, of Kubo's RPC and of routers: they verify what comes, and do not remember who sent it."""

from __future__ import annotations

from bacpack.ipfs_clients.block_client import BlockClient, NoCarError
from bacpack.ipfs_clients.car_stream import CarStream
from bacpack.ipfs_clients.gateway_client import CarFileClient, GatewayClient
from bacpack.ipfs_clients.kubo_rpc import KuboRpc

__all__ = ["BlockClient", "CarFileClient", "CarStream", "GatewayClient", "KuboRpc", "NoCarError"]
