"""The `bacpack` command: one file a command, each imported only when it is called."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from bacpack import __version__
from bacpack.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, BacpackError
from bacpack.files import explain_os_error

#: Each command and its one-line help: `bacpack --help` must not import the commands to list them.
COMMANDS = {
    "split": "Split linked programs into a remainder each and modules they share",
    "link": "Rewrite import namespaces to the CIDs of the modules that provide them",
    "pack": "Pack files or a folder into a CAR file",
    "publish": "Store and pin a release, so that its programs run by CID",
    "pin": "List, add or remove what the store keeps",
    "gc": "Free what nothing pins",
    "fetch": "Bring a CID and all it links to into the store",
    "verify": "Check a file, a folder or the store against its CIDs",
    "inspect": "Show imports, exports and the tree of modules a program needs",
    "run": "Run a program, resolving its imports by CID",
}

EPILOG = """\b
Exit status:
  0    done
  1    the thing checked or run did not hold
  2    wrong usage, input or configuration
  3    something could not be fetched
  124  a time limit was reached
  130  interrupted
`run` passes the program's own exit code through.
"""


class LazyGroup(click.Group):
    """A group whose commands live in `bacpack.cli.<name>`, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102 - click's own contract
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102 - as above
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"bacpack.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BACPACK", "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bacpack")
def cli() -> None:
    """Split WebAssembly programs into modules they share, publish them by CID, and run them anywhere."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: every failure becomes one message, or one JSON object, and a status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = cli.main(args=list(arguments), prog_name="bacpack", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output is gone (`bacpack … | head`). Point stdout away, or the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "bacpack"
        usage = BacpackError("usage", error.format_message(), hint=f"see `{command} --help`")
        _fail(usage, arguments)
    except BacpackError as error:
        _fail(error, arguments)
    except OSError as error:
        _fail(explain_os_error(error, f"use `{error.filename}`" if error.filename else "go on"), arguments)
    except MemoryError:
        _fail(BacpackError("out-of-memory", "not enough memory", hint="split fewer programs at a time"), arguments)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(error: BacpackError, arguments: Sequence[str]) -> NoReturn:
    """Print `error` as the person or program asked for it, and exit with its status."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # What `run` passes on may hold `--json`; stdout is the program's there.
    if "--json" in own and own[0] != "run":
        body = {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}
        click.echo(json.dumps({"schema": 1, "error": body}))
    else:
        click.echo(f"{_red('error')}[{error.code}]: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
    sys.exit(error.exit_status or EXIT_INPUT)


def _red(text: str) -> str:
    plain = bool(os.environ.get("NO_COLOR")) or "--no-color" in sys.argv or not sys.stderr.isatty()
    return text if plain else click.style(text, fg="red", bold=True)
