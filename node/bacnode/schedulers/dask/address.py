"""Addresses of Dask's schedulers, in every form that Dask takes: `HOST:PORT`, `tcp://HOST`, `tls://HOST:PORT`."""

from __future__ import annotations

from pathlib import Path

import dask
from distributed.comm.addressing import parse_address, parse_host_port

from bacpack.errors import UnreachableError

#: The port that Dask uses where an address names none.
PORT = 8786
#: What a client or worker needs for TLS, as Dask's configuration calls it below `distributed.comm.tls`.
_NEEDED = {"client": ("ca-file", "client.cert"), "worker": ("ca-file", "worker.cert")}


def check_scheduler(scheduler: str, role: str = "client") -> None:
    """Raise `UnreachableError` (`no-scheduler`) for an address that is none, and for TLS without certificates.

    Dask itself would try for a long time, and end with an error of Python. `role` is `client` or `worker`.
    """
    try:
        kind, place = parse_address(scheduler)
        _, port = parse_host_port(place, PORT)
    except ValueError as error:
        raise no_scheduler(scheduler, str(error)) from error
    # The system takes a port by its lowest sixteen bits.
    if not 0 < int(port) < 1 << 16:
        raise no_scheduler(scheduler, f"{port} is no port")
    for name in _NEEDED[role] if kind == "tls" else ():
        path = dask.config.get(f"distributed.comm.tls.{name}", None)
        variable = f"DASK_DISTRIBUTED__COMM__TLS__{name}".upper().replace(".", "__").replace("-", "_")
        if not path:
            raise no_scheduler(scheduler, f"it speaks TLS, and `{variable}` names no file", _tls_hint(role))
        if not (Path(path).is_file() or str(path).startswith("-----BEGIN")):
            raise no_scheduler(scheduler, f"it speaks TLS, and `{variable}` names no file that is there: `{path}`")


def no_scheduler(scheduler: str, why: str, hint: str = "") -> UnreachableError:
    """The error for a scheduler that cannot be used."""
    return UnreachableError(
        "no-scheduler",
        f"no scheduler of Dask answers at `{scheduler}`: {why}",
        hint=hint or "start one with `dask scheduler`, and check the address",
        details={"scheduler": scheduler},
    )


def _tls_hint(role: str) -> str:
    parts = ("CA_FILE", f"{role.upper()}__CERT", f"{role.upper()}__KEY")
    return f"set DASK_DISTRIBUTED__COMM__TLS__ followed by {', '.join(parts[:2])} and {parts[2]} to the paths of files"
