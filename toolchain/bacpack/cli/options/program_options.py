"""The options that say what a program is given, for all commands that run programs or have them run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click


def read_folders(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> list[tuple[Path, str]]:
    """Read each `HOST[::GUEST]`: a folder that is there, and the path under which the program sees it."""
    folders = []
    for value in values:
        host, _, guest = value.partition("::")
        if not Path(host).is_dir():
            raise click.BadParameter(f"`{host}` is no folder")
        folders.append((Path(host), guest or host))
    return folders


def read_variables(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> list[tuple[str, str]]:
    """Read each `K[=V]`: without a value it is ours, if we have it."""
    variables = []
    for value in values:
        name, assigned, content = value.partition("=")
        if not name:
            raise click.BadParameter(f"`{value}` names no variable")
        if assigned:
            variables.append((name, content))
        elif name in os.environ:
            variables.append((name, os.environ[name]))
    return variables


invoke_option = click.option(
    "--invoke", metavar="NAME", help="Call this exported function in place of the program's entry point."
)
environment_option = click.option(
    "--env",
    "environment",
    metavar="K[=V]",
    multiple=True,
    callback=read_variables,
    help="Set an environment variable; without a value, pass ours on.",
)
