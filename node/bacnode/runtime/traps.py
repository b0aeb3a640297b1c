"""What the engine says, as outcomes for people and programs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import wasmtime

from bacnode.runtime.call_trace import calls_of
from bacnode.runtime.report import TrapReport
from bacpack.errors import BacpackError, CheckFailedError, InputError

_BACKTRACE_HINT = "--report FILE records the calls that led there"

#: What the engine says when a memory or table is larger from the start than it may become.
_OVER_LIMIT = re.compile("exceeds (memory|table) limits")
#: What the engine puts before a cause: its number if there are several, and that it is a trap.
_CAUSE_PREFIX = re.compile(r"^([0-9]+: )?(wasm trap: )?")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    #: All 32 bits of it.
    exit_code: int
    #: What the called function returned, as text.
    results: Sequence[str] = ()
    trap: TrapReport | None = None
    #: What to tell a person, when the program did not end by itself.
    error: BacpackError | None = None


class TrapError(BacpackError):
    """The program did what no program may, such as to divide by zero, and was ended.

    The code is `trap`, or `memory-limit` when its memory is beyond the limit from the start: a blob cannot be
    instantiated then and a split program traps, and nobody should have to tell the two apart.
    """

    #: What the wasmtime command ends with: the shell's number for SIGABRT, as after `abort` in a native program.
    exit_status = 134


def trapped(trap: wasmtime.Trap) -> Outcome:
    """The outcome of a program that the engine ended."""
    report = trap_report(trap)
    error = TrapError("trap", f"the program trapped: {report.reason}", hint=_BACKTRACE_HINT)
    return Outcome(error.exit_status, trap=report, error=error)


def not_instantiated(name: str, error: wasmtime.WasmtimeError) -> Outcome:
    """The outcome of a program with too much memory.

    Raises `InputError` for all others: `wasm-unsupported` for memory of threads, which the engine tells of only here,
    and `cannot-instantiate`.
    """
    report = trap_report(error)
    if _OVER_LIMIT.search(report.reason):
        return over_limit(report)
    if "shared memory support is disabled" in report.reason:
        raise InputError(
            "wasm-unsupported",
            f"`{name}` has a memory that threads share, and the engine runs none",
            hint="build it without threads",
            details={"module": name},
        ) from error
    raise InputError(
        "cannot-instantiate",
        f"`{name}` cannot be instantiated: {one_line(str(error))}",
        hint="see what it needs with `bacpack inspect`",
        details={"module": name},
    ) from error


def over_limit(report: TrapReport) -> Outcome:
    """The outcome of a program that needs more memory than it may have to start."""
    error = TrapError(
        "memory-limit",
        "the program needs more memory than --max-memory allows to start",
        hint="give it more memory with --max-memory",
    )
    return Outcome(error.exit_status, trap=report, error=error)


def host_refused(error: wasmtime.WasmtimeError) -> Outcome:
    """The outcome of a program that called the host in a way which breaks its rules."""
    report = trap_report(error)
    refused = CheckFailedError(
        "host-call", f"a call to the host broke its rules: {report.reason}", hint=_BACKTRACE_HINT
    )
    return Outcome(refused.exit_status, trap=report, error=refused)


def trap_report(error: wasmtime.Trap | wasmtime.WasmtimeError) -> TrapReport:
    """Take the engine's message apart: a backtrace, innermost call first, then the causes."""
    message = error.message if isinstance(error, wasmtime.Trap) else str(error)
    backtrace, _, causes = message.partition("Caused by:")
    calls = [line.strip() for line in backtrace.splitlines() if " - " in line]
    reason = next((line.strip() for line in reversed(causes.splitlines()) if line.strip()), one_line(message))
    return TrapReport(reason=_CAUSE_PREFIX.sub("", reason), backtrace=calls, calls=calls_of(error))


def one_line(message: str) -> str:
    """What the engine says, on one line."""
    return "; ".join(line.strip() for line in message.splitlines() if line.strip() and line.strip() != "Caused by:")
