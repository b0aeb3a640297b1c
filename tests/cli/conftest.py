"""Fixtures of the command line's tests."""

from differential.conftest import host
from node.conftest import command, server

__all__ = ["command", "host", "server"]
