"""`bacpack jobspec`: a job as another scheduler takes it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from bacpack.cli.jobs.submit import SubmitCommand
from bacpack.cli.options.program_options import environment_option, invoke_option
from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.options.values import seconds, size
from bacpack.cli.terminal.output import Output, common_options

EPILOG = """\b
Examples:
  bacpack jobspec bafybei…/app.wasm > job.json && bacalhau job run job.json
  bacpack jobspec out/app.wasm -o job.json -- --verbose

\b
Every module that the program needs stands in the job, for Bacalhau fetches none by itself. Its compute
nodes get them from the IPFS node that they are set up with: publish the program there first.

\b
Exit status:
  0  written
  2  wrong usage or input, or a program that the scheduler could not run
  3  a module could not be fetched
"""


@click.command(cls=SubmitCommand, epilog=EPILOG)
@click.argument("ref")
@click.option("--target", type=click.Choice(["bacalhau"]), default="bacalhau", show_default=True,
              help="The scheduler that is to run it.")  # fmt: skip
@click.option("-o", "--output", "path", metavar="FILE",
              type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
              help="Write here rather than on standard output, which is also `-`.")  # fmt: skip
@invoke_option
@environment_option
@click.option("--timeout", metavar="S", callback=seconds, help="Stop the job after S seconds.")
@click.option("--max-memory", metavar="BYTES", callback=size, help="Memory that the job may use; also 64MiB.")
@source_options
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    *,
    ref: str,
    target: str,
    path: Path | None,
    invoke: str | None,
    environment: Sequence[tuple[str, str]],
    timeout: float | None,
    max_memory: int | None,
    sources: SourceOptions,
) -> None:
    """Write a job for another scheduler, with all modules that REF needs."""
    from bacnode.programs.closure import closure_of
    from bacnode.schedulers.bacalhau.job_spec import bacalhau_job
    from bacnode.schedulers.job_message import JobSpec
    from bacpack.content.store.block_store import BlockStore
    from bacpack.files import write_file
    from bacpack.folders import data_folder

    closure = closure_of(ref, BlockStore(data_folder()), sources.web())
    spec = JobSpec(
        number=0, ref=ref, target=closure.target, name=closure.name, args=ctx.meta["bacpack.program_arguments"],
        env=list(environment), invoke=invoke, seconds=timeout, memory_bytes=max_memory,
    )  # fmt: skip
    job = bacalhau_job(closure, spec)
    text = json.dumps(job, indent=2)
    if path not in (None, Path("-")):
        write_file(path, f"{text}{os.linesep}".encode())
        count = len(job["Tasks"][0]["InputSources"])
        output.result({"target": target, "path": str(path), "modules": count}, f"{path}: {count} modules")
    else:
        output.result({"target": target, "job": job}, text)
