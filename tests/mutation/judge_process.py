"""The process that proves releases for `judge`: a proof that takes too much here does no harm there."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import time
import traceback
from pathlib import Path
from typing import Any

from bacpack.cli import cli
from bacpack.errors import BacpackError
from bacpack.proof.equivalence.components import prove_program
from bacpack.proof.equivalence.prover import Prover
from mutation.judge import Verdict, read_message, write_message

#: Bytes that a proof may take besides what the process has when it has just started.
_MEMORY = 1 << 30
#: Provers that are kept, each for one set of modules.
_PROVERS = 3


class _TooLong(BaseException):
    """The time is over. No error that code of ours could take for its own."""


def _serve() -> None:
    """Answer questions until there are no more."""
    given, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, resource.RLIM_INFINITY))

    def too_long(_signal: int, _frame: object) -> None:
        raise _TooLong

    signal.signal(signal.SIGPROF, too_long)
    provers: dict[frozenset[tuple[str, bytes]], Prover] = {}
    while (question := read_message(given)) is not None:
        limit, *what = question
        started = time.process_time()
        try:
            signal.setitimer(signal.ITIMER_PROF, limit)
            _prove(what, provers)
            verdict = Verdict("accepted")
        except _TooLong:
            verdict = Verdict("too long", f"not done after {limit:.1f} s of processor time")
        except MemoryError:
            verdict = Verdict("too much memory", f"more than {_MEMORY >> 20} MB")
        except BaseException as error:
            verdict = _failed(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_message(told, Verdict(verdict.answer, verdict.message, time.process_time() - started))


def _failed(error: BaseException) -> Verdict:
    if isinstance(error, BacpackError):
        return Verdict("refused", f"{error.code}: {error.message}")
    return Verdict("traceback", "".join(traceback.format_exception(error)))


def _prove(what: list[Any], provers: dict[frozenset[tuple[str, bytes]], Prover]) -> None:
    if what[0] == "folder":
        _verify(*what[1:])
        return
    _, blob, remainder, modules = what
    # A module may stand under a name that is not its own.
    key = frozenset((name, hashlib.sha256(data).digest()) for name, data in modules.items())
    prover = provers.pop(key, None) or Prover(modules)
    provers[key] = prover
    while len(provers) > _PROVERS:
        del provers[next(iter(provers))]
    prove_program(prover, blob, remainder)


def _verify(folder: Path, blobs: list[Path]) -> None:
    against = [part for blob in blobs for part in ("--against", str(blob))]
    cli.main(["verify", str(folder), *against], prog_name="bacpack", standalone_mode=False)


if __name__ == "__main__":
    _serve()
