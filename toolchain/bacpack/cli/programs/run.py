"""`bacpack run`: run a program, resolving its imports by CID."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from bacpack.cli.options.program_options import environment_option, invoke_option, read_folders
from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.options.values import OutputPath, seconds, size
from bacpack.cli.terminal.ending import ended_by_signals
from bacpack.cli.terminal.streams import ended_by_broken_pipe, say
from bacpack.errors import InputError

EPILOG = """\b
Examples:
  bacpack run out/app.wasm input.txt
  bacpack run --dir . --env LANG out/app.wasm -v input.txt
  bacpack run bafybei…/app.wasm --timeout 10 --max-memory 256MiB -- --verbose
  bacpack run release.car/app.wasm --offline --report run.json
  bacpack run lib.wasm --invoke add -- 1 -2

\b
Options of run may stand before REF or after it. The first argument after REF that is none of
them, or what follows `--`, begins the program's own arguments.

\b
Exit status: the program's own; 134 if it traps; otherwise
  1    a module's bytes are not what its CID says, or a call to the host broke its rules
  2    wrong usage or input
  3    a module could not be fetched
  124  the time limit was reached
  130  interrupted
  141  it goes on writing what nobody reads any more
"""


class RunCommand(click.Command):
    """A command whose own options end where the program's arguments begin."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the program's arguments aside, then read the rest as any command does."""
        own, ctx.meta["bacpack.program_arguments"] = split_arguments(args, self.params)
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Add the program's arguments, which click does not know of, to the line of usage."""
        return [*super().collect_usage_pieces(ctx), "[--]", "[ARGS]..."]


def split_arguments(args: Sequence[str], params: Sequence[click.Parameter]) -> tuple[list[str], list[str]]:
    """Split the command line into what is ours, REF included, and the arguments of the program.

    click's parser offers to take options anywhere, or none after the first argument. Neither will do: options may
    follow REF, and yet the program's own options must not be taken for ours.
    """
    takes_value = {
        name: not option.is_flag for option in params if isinstance(option, click.Option) for name in option.opts
    }
    own: list[str] = []
    rest = list(args)
    ref_seen = False
    while rest:
        argument = rest.pop(0)
        name, assigned, _ = argument.partition("=")
        if argument == "--":
            # What follows cannot be an option of ours; REF may still be missing.
            return ([*own, "--", *rest[:1]], rest[1:]) if not ref_seen else (own, rest)
        if name in takes_value:
            own.append(argument)
            if takes_value[name] and not assigned:
                own += rest[:1]
                del rest[:1]
        elif not ref_seen:
            own.append(argument)
            ref_seen = not argument.startswith("-")
        else:
            return own, [argument, *rest]
    return own, []


@click.command(cls=RunCommand, epilog=EPILOG)
@click.argument("ref")
@invoke_option
@click.option("--dir", "folders", metavar="HOST[::GUEST]", multiple=True, callback=read_folders,
              help="Let the program use a folder, under another path if GUEST is given.")  # fmt: skip
@environment_option
@click.option("--timeout", metavar="S", callback=seconds,
              help="Stop the program after S seconds; loading does not count.")  # fmt: skip
@click.option("--max-memory", metavar="BYTES", callback=size,
              help="Largest size of a memory; also 64MiB and the like.")  # fmt: skip
@source_options
@click.option("--report", metavar="FILE", type=OutputPath(dir_okay=False, path_type=Path),
              help="Write which modules ran and where each came from, as JSON.")  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    *,
    ref: str,
    invoke: str | None,
    folders: list[tuple[Path, str]],
    environment: list[tuple[str, str]],
    timeout: float | None,
    max_memory: int | None,
    sources: SourceOptions,
    report: Path | None,
) -> int:
    """Run a program with ARGS, resolving its imports by CID.

    REF is a .wasm or .car file, a CID, CID/path, ipfs://… or an http(s) URL. The program has our stdin, stdout and
    stderr, no other file, no variable and no network but what the options give it.
    """
    from bacnode.fetch.limits import LoadLimits
    from bacnode.programs.open_program import open_program
    from bacnode.runtime.code_cache import open_cache
    from bacnode.runtime.engine import Runtime
    from bacnode.runtime.engine_config import is_linked
    from bacnode.runtime.report import encode_report
    from bacnode.runtime.run_limits import RunLimits
    from bacnode.runtime.run_program import load, run
    from bacnode.runtime.wasi import Job
    from bacpack.content.store.block_store import BlockStore
    from bacpack.files import explain_os_error, writing_aside
    from bacpack.folders import cache_folder, data_folder

    limits = LoadLimits()
    program = open_program(ref, BlockStore(data_folder()), sources.web(), limits)
    job = Job(
        arguments=[program.root.name, *ctx.meta["bacpack.program_arguments"]],
        environment=environment,
        folders=folders,
        limits=RunLimits(timeout, max_memory),
    )
    _check_text([*job.arguments, *(text for pair in environment for text in pair)])
    linked = is_linked(program.root.data)
    runtime = Runtime(interruptible=timeout is not None, linked=linked, cache=open_cache(cache_folder()))
    loaded = load(ref, program, invoke, runtime, limits)
    with ended_by_signals(), ExitStack() as stack:
        # Opened before the program runs: hours of work must not end in a report that cannot be written.
        descriptor = None
        if report is not None:
            try:
                descriptor = stack.enter_context(writing_aside(report))
            except OSError as error:
                raise explain_os_error(error, f"write `{report}`") from error
        with ended_by_broken_pipe():
            finished = run(loaded, runtime, job)
        if descriptor is not None:
            os.write(descriptor, encode_report(finished.report))
    for line in finished.results:
        say(line)
    if finished.error is not None:
        raise finished.error
    return exit_status(finished.exit_code)


def exit_status(code: int) -> int:
    """What this process ends with for a program's code. The system keeps eight bits of it; a failure stays one."""
    return code & 0xFF or min(code, 1)


def _check_text(texts: Sequence[str]) -> None:
    """WASI passes text as UTF-8; bytes of our command line that are not come as surrogates, which have no UTF-8."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                "not-utf8",
                f"an argument or variable is not UTF-8: {text.encode(errors='surrogateescape')!r}",
                hint="programs take text in UTF-8 only",
            ) from error
