"""From the text of `--to` to a target: which kinds there are, how each is written, and which is published to first."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from bacpack.errors import InputError
from bacpack.http_client.redirects import parse_url
from bacpack.publish.targets.local import CarTarget, StoreTarget, car_path
from bacpack.publish.targets.target import Target
from bacpack.publish.targets.tokens import TokenKind, find_token, variable

Kind: TypeAlias = Literal["store", "car", "kubo", "pinning-service", "node"]
_TOKEN_KINDS: Mapping[Kind, TokenKind] = {"kubo": "kubo", "pinning-service": "pinning", "node": "node"}
_FORMS = "`store`, `car:FILE`, `kubo:URL`, `pinning-service:URL` and `node:URL`"


@dataclass(frozen=True, slots=True)
class ParsedTarget:
    """A target as it was named: its kind, and the file or URL after it."""

    kind: Kind
    address: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.address}" if self.address else self.kind


@dataclass(frozen=True, slots=True)
class Setting:
    """What targets need beside their names."""

    #: The folder of the store.
    folder: Path
    #: The time limit for each target, in seconds.
    seconds: float
    #: Files with tokens by kind: given on the command line, and configured.
    token_files: Mapping[TokenKind, Path] = field(default_factory=dict)
    configured_token_files: Mapping[TokenKind, Path] = field(default_factory=dict)
    #: Multiaddrs that a pinning service can fetch from, beside those of the Kubo targets.
    origins: Sequence[str] = ()
    #: Called if garbage collection must be waited for.
    on_wait: Callable[[], None] | None = None
    #: Told what a person should know.
    note: Callable[[str], None] = lambda _text: None


def parse_target(text: str) -> ParsedTarget:
    """Read a target; raises `InputError` (`unknown-target`, `is-a-directory`, `secret-in-url`, `bad-url`)."""
    kind, _, address = text.partition(":")
    if text == "store":
        return ParsedTarget("store")
    if kind == "car" and address:
        return ParsedTarget("car", str(car_path(address)))
    if kind in _TOKEN_KINDS and address:
        return ParsedTarget(kind, _service_url(kind, address))  # type: ignore[arg-type]  # it is one of the keys
    close = difflib.get_close_matches(kind, get_args(Kind), n=1)
    meant = f"did you mean `{close[0]}`? " if close and close[0] != kind else ""
    raise InputError(
        "unknown-target",
        # What looks like a URL may have a password in it.
        f"`{text if '@' not in text else kind}` is no target that can be published to",
        hint=f"{meant}Targets are {_FORMS}",
        details={"target": kind},
    )


def open_targets(parsed: Sequence[ParsedTarget], setting: Setting) -> list[Target]:
    """Make each target ready, in the order in which they are published to.

    CAR files come first: whoever asked for one and has no room for it has published nothing yet. Pinning services come
    last, for they fetch from the other targets. Raises `InputError` (`bad-token`, and when a file cannot be read).
    """
    order: Sequence[Kind] = ("car", "store", "kubo", "node", "pinning-service")
    kubos: list[Target] = []
    targets: list[Target] = []
    for one in sorted(dict.fromkeys(parsed), key=lambda one: order.index(one.kind)):
        match one.kind:
            case "car":
                targets.append(CarTarget(Path(one.address)))
            case "store":
                targets.append(StoreTarget(setting.folder, setting.on_wait))
            case _:
                targets.append(_service_target(one, setting, kubos))
        if one.kind == "kubo":
            kubos.append(targets[-1])
    return targets


def _service_target(one: ParsedTarget, setting: Setting, kubos: Sequence[Target]) -> Target:
    # Imported late: a store needs no network, and the client takes longer to import than most publishing lasts.
    from bacpack.http_client.address_rules import is_loopback
    from bacpack.publish.targets.kubo import KuboTarget
    from bacpack.publish.targets.node import NodeTarget
    from bacpack.publish.targets.pinning_service import PinningTarget, reachable
    from bacpack.publish.targets.service import Service

    kind = _TOKEN_KINDS[one.kind]
    token = find_token(kind, setting.token_files, setting.configured_token_files)
    if token and one.address.startswith("http:") and not is_loopback(one.address):
        setting.note(f"the token for {one} goes over the network unencrypted: use https where others can listen")
    token_help = f"put the token into {variable(kind)}, or into a file and name it with --token-file {kind}=FILE"
    service = Service(str(one), one.address, token, setting.seconds, token_help)
    if one.kind == "kubo":
        return KuboTarget(service)
    if one.kind == "node":
        return NodeTarget(service)

    def origins() -> list[str]:
        own = [address for kubo in kubos if isinstance(kubo, KuboTarget) for address in reachable(kubo.addresses())]
        return list(dict.fromkeys([*setting.origins, *own]))

    if not setting.origins and not kubos:
        setting.note(f"{one} fetches the content itself, by bitswap: name an IPFS node that has it with --origin")
    return PinningTarget(service, origins)


def _service_url(kind: str, address: str) -> str:
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise InputError(
            "secret-in-url",
            f"the URL of `{kind}` has a user or password in it, which would be seen in lists of processes and in logs",
            hint=f"put the token into {variable(_TOKEN_KINDS[kind])}, or into a file that --token-file names",  # type: ignore[index]
            details={"target": kind},
        )
    try:
        parse_url(address)
        why = ""
    except ValueError:
        why = "" if "?" in address else f", not `{address}`"
    if why or "?" in address or "#" in address:
        raise InputError(
            "bad-url",
            f"`{kind}` needs an http or https URL without `?` or `#`{why}",
            hint=f"such as `{kind}:http://127.0.0.1:5001`",
            details={"target": kind},
        )
    return address.rstrip("/")
