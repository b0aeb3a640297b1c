"""The `bacpack` command: one file a command, in a package for each topic, imported only when it is called."""

from bacpack.cli.commands import cli, main

__all__ = ["cli", "main"]
