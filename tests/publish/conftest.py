"""Fixtures of the publishing tests."""

from content.conftest import bacpack, oracles

__all__ = ["bacpack", "oracles"]
