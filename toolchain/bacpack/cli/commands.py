"""The `bacpack` command: one file a command, each imported only when it is called."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import click

from bacpack import __version__
from bacpack.cli.terminal.streams import ReaderGoneError, StdoutError, open_streams, say, told
from bacpack.errors import EXIT_INPUT, EXIT_INTERRUPTED, BacpackError
from bacpack.files import explain_not_utf8, explain_os_error

#: Each command, the package that has it, and its one-line help: `bacpack --help` must not import them to list them.
COMMANDS = {
    "new": ("projects", "Make a Rust project: a job, a module that jobs share, or a workspace of both"),
    "build": ("projects", "Build a project, link its programs with their modules, and split them"),
    "doctor": ("projects", "Check what this machine has to build and run with, and mend what can be mended"),
    "ci": ("projects", "Build, check budgets and publish in a pipeline"),
    "split": ("programs", "Split linked programs into a remainder each and modules they share"),
    "link": ("programs", "Rewrite import namespaces to the CIDs of the modules that provide them"),
    "pack": ("content", "Pack files or a folder into a CAR file"),
    "publish": ("content", "Store and pin a release, so that its programs run by CID"),
    "pin": ("content", "List, add or remove what the store keeps"),
    "gc": ("content", "Free what nothing pins"),
    "fetch": ("content", "Bring a CID and all it links to into the store"),
    "verify": ("programs", "Check a file, a folder or the store against its CIDs"),
    "inspect": ("programs", "Show imports, exports and the tree of modules a program needs"),
    "run": ("programs", "Run a program, resolving its imports by CID"),
    "submit": ("jobs", "Have programs run where their modules are: here, by Dask or by Bacalhau"),
    "jobspec": ("jobs", "Write a job for another scheduler"),
    "node": ("jobs", "Run a node that holds modules and serves them"),
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
    """A group whose commands live in `bacpack.cli.<topic>.<name>`, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102 - click's own contract
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102 - as above
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"bacpack.cli.{COMMANDS[cmd_name][0]}.{cmd_name}").command
        _name(command, cmd_name, f"BACPACK_{cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _name(command: click.Command, name: str, prefix: str) -> None:
    """Call a command `name`, and let each of its options be set by the variable named after both."""
    command.name = name
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            longest = max(option.opts, key=len)
            option.envvar = f"{prefix}_{longest.lstrip('-').replace('-', '_')}".upper()
            option.show_envvar = True
    for name_below, below in command.commands.items() if isinstance(command, click.Group) else ():
        _name(below, name_below, f"{prefix}_{name_below}")


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bacpack")
def cli() -> None:
    """Split WebAssembly programs into modules they share, publish them by CID, and run them anywhere."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: every failure becomes one message, or one JSON object, and a status.

    Without `arguments` it is the command itself, in a process of its own, whose streams may be closed.
    """
    if arguments is None:
        open_streams()
        arguments = sys.argv[1:]
    try:
        status = cli.main(args=list(arguments), prog_name="bacpack", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        say("interrupted", err=True)
        _exit(getattr(error.__cause__, "exit_status", EXIT_INTERRUPTED))
    except ReaderGoneError as error:
        _exit(error.exit_status)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"see `{context.command_path if context else 'bacpack'} --help`"
        if isinstance(error, click.NoSuchOption) and context and context.command is cli:
            hint = f"options follow the command, as in `bacpack split --json`; {hint}"
        _fail(BacpackError("usage", error.format_message(), hint=hint), arguments)
    except BacpackError as error:
        _fail(error, arguments)
    except OSError as error:
        _fail(explain_os_error(error, f"use `{error.filename}`" if error.filename else "go on"), arguments)
    except UnicodeEncodeError as error:
        _fail(explain_not_utf8(error), arguments)
    except MemoryError:
        _fail(BacpackError("out-of-memory", "not enough memory", hint="split fewer programs at a time"), arguments)
    sys.exit(status if isinstance(status, int) else 0)


def _exit(status: int) -> NoReturn:
    """End the process, at once if a program that could not be ended still runs in it.

    Tearing the interpreter down would take from under the program what it uses, and print complaints about that.
    """
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _fail(error: BacpackError, arguments: Sequence[str]) -> NoReturn:
    """Print `error` as the person or program asked for it, and exit with its status."""
    if not (_is_set("json", arguments) and _said_as_json(error)):
        plain = _is_set("no-color", arguments) or bool(os.environ.get("NO_COLOR")) or not sys.stderr.isatty()
        click.echo("error" if plain else click.style("error", fg="red", bold=True), nl=False, err=True)
        say(told(error, f"[{error.code}]: "), err=True)
    _exit(error.exit_status or EXIT_INPUT)


def _said_as_json(error: BacpackError) -> bool:
    """Print `error` on stdout; return whether stdout takes it."""
    try:
        say(json.dumps({"schema": 1, "error": error.problem().as_json()}))
    except (StdoutError, ReaderGoneError):
        return False
    return not isinstance(error, StdoutError)


def _is_set(flag: str, arguments: Sequence[str]) -> bool:
    """Whether a flag of all commands is set, in the arguments or by its variable, also if they cannot be parsed."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # `run` has no such flag: what looks like one is the program's, and stdout is, too.
    if not own or own[0] == "run":
        return False
    names = ["_".join(["BACPACK", *own[:words], flag.replace("-", "_")]).upper() for words in (1, 2)]
    return f"--{flag}" in own or any(_is_true(os.environ.get(name)) for name in names)


def _is_true(value: str | None) -> bool:
    try:
        return bool(value) and click.BOOL.convert(value, None, None) is True
    except click.BadParameter:
        return False
