"""Fixtures of the command line's tests."""

from node.conftest import command, server

__all__ = ["command", "server"]
