"""`bacpack doctor`: check what this machine has to build and run with."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import click

from bacpack.cli.terminal.output import Output, common_options, table

EPILOG = """\b
Examples:
  bacpack doctor
  bacpack doctor --fix

\b
Exit status:
  0  all that is needed here is there
  1  something is missing; the line that mends it is printed
"""


@click.command(epilog=EPILOG)
@click.option("--fix", is_flag=True, help="Run the lines that mend what is missing, where they need no decision.")
@common_options
def command(output: Output, *, fix: bool) -> int:
    """Check what this machine has to build and run with, and say what mends what is missing.

    In the folder of a project its files are checked too, and the targets that it builds for.
    """
    import msgspec

    from bacpack.project.doctor import examine

    checks = list(examine(Path()))
    mended = False
    for check in checks:
        if fix and check.status != "ok" and check.mend and check.by_itself:
            output.note(f"$ {check.mend}")
            done = subprocess.run(shlex.split(check.mend), stdout=subprocess.DEVNULL, check=False)
            mended = mended or done.returncode == 0
    if mended:
        checks = list(examine(Path()))
    missing = [check for check in checks if check.status == "missing"]
    rows = [["", "check", "found", "mend"]]
    rows += [[check.status, check.name, check.found, check.mend or ""] for check in checks]
    output.result({"ok": not missing, "checks": [msgspec.to_builtins(check) for check in checks]}, table(rows))
    return 1 if missing else 0
