"""The options of `bacpack split` that say what its statement of provenance is to hold."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bacpack.attest.attach import Circumstances

F = TypeVar("F", bound=Callable[..., Any])


def provenance_options(function: F) -> F:
    """Add `--key`, `--source` and `--builder`, and pass the command what they come to as `circumstances`."""

    @click.option("--key", type=click.Path(path_type=Path), metavar="FILE",
                  help="Sign the statement of provenance with this ed25519 key, a PEM file.")  # fmt: skip
    @click.option("--source", metavar="REPO@REV",
                  help="The revision that the programs were built from.  [default: that of the CI run, if it is one; "
                  "`none` names none]")  # fmt: skip
    @click.option("--builder", metavar="URI", help="Who builds.  [default: the CI system, if it is one]")
    @functools.wraps(function)
    def with_circumstances(*args: Any, key: Path | None, source: str | None, builder: str | None, **kwargs: Any) -> Any:
        return function(*args, circumstances=_circumstances(key, source, builder), **kwargs)

    return with_circumstances  # type: ignore[return-value]  # same call, less the options that it takes care of


def _circumstances(key: Path | None, source: str | None, builder: str | None) -> Circumstances:
    from bacpack.attest.attach import Circumstances
    from bacpack.attest.source import builder_of, source_of
    from bacpack.attest.statement import finished_on

    private_key = None
    if key is not None:
        from bacpack.attest.dsse import load_private_key

        private_key = load_private_key(key)
    return Circumstances(
        source_of(source, os.environ), builder_of(builder, source, os.environ), finished_on(os.environ), private_key
    )
