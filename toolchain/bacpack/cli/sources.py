"""The options of commands that resolve imports: where modules may come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _peers(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    for value in values:
        if not value.startswith(("http://", "https://")):
            raise click.BadParameter(f"`{value}` is no http or https URL")
    return values


def source_options(function: F) -> F:
    """Add `--peer`, `--offline` and `--allow-private`."""
    options = (
        click.option("--peer", metavar="URL", multiple=True, callback=_peers,
                     help="Ask this node for modules that are not here."),
        click.option("--offline", is_flag=True, help="Use what is here and never the network."),
        click.option("--allow-private", is_flag=True,
                     help="Let modules import from URLs at addresses that are not public."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function
