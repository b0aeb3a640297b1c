"""`bacpack submit`: have programs run where their modules are."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bacpack.cli.options.program_options import environment_option, invoke_option, read_folders
from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.options.values import seconds, size
from bacpack.cli.terminal.ending import ended_by_signals
from bacpack.cli.terminal.output import Output, common_options
from bacpack.cli.terminal.streams import joined, printable, say
from bacpack.errors import EXIT_FAILED, InputError
from bacpack.installed import has_extra, line_for_extra
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacnode.programs.closure import Closure
    from bacnode.schedulers.engine import Engine
    from bacnode.schedulers.job_message import JobResult
    from bacnode.schedulers.placement import Verdict
    from bacnode.schedulers.submitted_jobs import SubmittedJob

EPILOG = """\b
Examples:
  bacpack submit out/app.wasm -- --verbose
  bacpack submit 'out/*.wasm' --map 'images/*.png' --results results
  bacpack submit bafybei…/app.wasm --engine dask --scheduler tcp://10.0.0.1:8786 --explain
  bacpack submit bafybei…/app.wasm --engine bacalhau --scheduler http://10.0.0.1:1234

\b
What follows `--` are the arguments of every program; with --map, `{}` in them is the name of the
input file, which otherwise comes last. With --json one object a line is printed as jobs end.

\b
Exit status:
  0    every program ran and ended with 0
  1    one did not
  2    wrong usage or input
  3    a module or the scheduler could not be reached
  130  interrupted
"""


class SubmitCommand(click.Command):
    """A command whose own arguments end at `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the programs' arguments aside."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta["bacpack.program_arguments"] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Add the programs' arguments, which click does not know of, to the line of usage."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGS...]"]


@click.command(cls=SubmitCommand, epilog=EPILOG)
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option("--engine", type=click.Choice(["local", "dask", "bacalhau"]), default="local", show_default=True,
              help="Who runs the jobs: processes of this machine, a Dask cluster, or a Bacalhau network.")  # fmt: skip
@click.option("--scheduler", metavar="URL",
              help="Dask's scheduler, tcp://HOST:8786, or Bacalhau's orchestrator, http://HOST:1234.")  # fmt: skip
@click.option("--workers", metavar="N", type=click.IntRange(1, 256),
              help="Processes of the local engine.  [default: one for each core]")  # fmt: skip
@click.option("--map", "maps", metavar="PATTERN", multiple=True,
              help="Run each program once for each file that fits, which it finds by its name.")  # fmt: skip
@click.option("--output", "outputs", metavar="PATH", multiple=True,
              help="A file or folder below the program's root to bring back.")  # fmt: skip
@click.option("--results", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for what each job prints and leaves, one folder a job.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Say of each node whether a job runs there, and why not.")
@click.option("--dry-run", is_flag=True, help="Send nothing; with --explain, say what would be chosen.")
@click.option("--wait", metavar="S", callback=seconds, default="300", show_default=True,
              help="How long a job may wait for a module that nobody offers.")  # fmt: skip
@invoke_option
@click.option("--dir", "folders", metavar="HOST[::GUEST]", multiple=True, callback=read_folders,
              help="Let the programs use a folder of this machine; only with the local engine.")  # fmt: skip
@environment_option
@click.option("--timeout", metavar="S", callback=seconds,
              help="Stop a program after S seconds; loading does not count.")  # fmt: skip
@click.option("--max-memory", metavar="BYTES", callback=size,
              help="Largest size of a memory; also 64MiB and the like.")  # fmt: skip
@source_options
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    *,
    refs: tuple[str, ...],
    engine: str,
    scheduler: str | None,
    workers: int | None,
    maps: tuple[str, ...],
    outputs: tuple[str, ...],
    results: Path | None,
    explain: bool,
    dry_run: bool,
    wait: float,
    invoke: str | None,
    folders: list[tuple[Path, str]],
    environment: list[tuple[str, str]],
    timeout: float | None,
    max_memory: int | None,
    sources: SourceOptions,
) -> int:
    """Have programs run where their modules are.

    REF is a .wasm or .car file, a CID, CID/path, ipfs://…, an http(s) URL, or a pattern of paths. Programs see the
    file that they are run over, no other file, no variable and no network but what the options give them.
    """
    _check(engine, scheduler, folders, outputs, invoke)
    from bacnode.programs.closure import closure_of, keep
    from bacnode.schedulers.job_message import JobSpec
    from bacnode.schedulers.submitted_jobs import Submitted, closures_of, expand_inputs, expand_refs, submitted_jobs
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder

    store = BlockStore(data_folder())
    web = sources.web()
    closures = closures_of(expand_refs(refs), lambda ref: closure_of(ref, store, web))
    template = JobSpec(
        number=0, ref="", target="", name="", env=environment, outputs=list(outputs), invoke=invoke, seconds=timeout,
        memory_bytes=max_memory, folders=[(str(host.absolute()), guest) for host, guest in folders],
        peers=[peer.origin for peer in web.peers],
    )  # fmt: skip
    submitted = Submitted(ctx.meta["bacpack.program_arguments"], template)
    jobs = submitted_jobs(closures, expand_inputs(maps), submitted, send_files=engine != "local")
    if engine != "bacalhau":
        for closure in closures:
            keep(closure.graph, store)
    shown = _Shown(output, results, single=len(jobs) == 1)
    with output.progress("running") as progress, _engine(engine, scheduler, closures, sources, workers) as running:
        watch = _Watch(running, explains=explain)
        running.on_note, running.on_send, running.wait_seconds = output.note, watch.verdicts, wait
        if dry_run:
            for job in jobs:
                shown.planned(job, watch.verdicts(job))
            return 0
        for done, result in enumerate(running.run(jobs), 1):
            progress(f"{done} of {len(jobs)} jobs")
            shown.ended(result, jobs[result.number], watch.about(result))
    return EXIT_FAILED if shown.failed else shown.status


def _check(
    engine: str, scheduler: str | None, folders: Sequence[object], outputs: Sequence[str], invoke: str | None
) -> None:
    if engine != "bacalhau" and not has_extra("dask"):
        raise InputError(
            "no-dask", "this bacpack was installed without what the engines `local` and `dask` need",
            hint=line_for_extra("dask"),
        )  # fmt: skip
    if engine != "local" and scheduler is None:
        raise InputError("usage", f"--engine {engine} needs --scheduler URL", hint="name the scheduler to send jobs to")
    if engine != "local" and folders:
        raise InputError("usage", "--dir is for the local engine", hint="give programs their input with --map")
    if engine == "bacalhau" and outputs:
        raise InputError(
            "usage", "--output is for the engines `local` and `dask`",
            hint="write to standard output, or publish from Bacalhau with a specification of your own",
        )  # fmt: skip


@contextmanager
def _engine(
    engine: str, scheduler: str | None, closures: Sequence[Closure], sources: SourceOptions, workers: int | None
) -> Iterator[Engine]:
    from bacpack.folders import cache_folder, data_folder

    if engine == "local":
        from bacnode.schedulers.dask.local_cluster import local_engine

        with ended_by_signals(), local_engine(
            data_folder(), cache_folder(), workers=workers, peers=sources.peers, offline=sources.offline,
            allow_private=sources.allow_private,
        ) as local:  # fmt: skip
            yield local
    elif engine == "dask":
        from bacnode.schedulers.dask.remote_cluster import cluster_engine

        with cluster_engine(scheduler or "", closures, data_folder()) as cluster:
            yield cluster
    else:
        from bacnode.schedulers.bacalhau.client import BacalhauEngine

        with closing(BacalhauEngine(scheduler or "")) as bacalhau:
            yield bacalhau


class _Watch:
    """Explains, if it is asked to, where jobs run."""

    def __init__(self, engine: Engine, *, explains: bool) -> None:
        self._engine = engine
        self._explains = explains
        self._found: dict[int, list[Verdict]] = {}

    def verdicts(self, job: SubmittedJob) -> list[Verdict] | None:
        """What is to be said of each node if the job is sent now."""
        found = self._engine.explain(job) if self._explains else None
        if found is not None:
            self._found[job.spec.number] = found
        return found

    def about(self, result: JobResult) -> list[Verdict] | None:
        """What was said, with where the job did run."""
        from bacnode.schedulers.placement import mark

        found = self._found.pop(result.number, None)
        return None if found is None else mark(found, result.node)


class _Shown:
    """Prints what became of jobs, and keeps what they left."""

    def __init__(self, output: Output, results: Path | None, *, single: bool) -> None:
        self._output = output
        self._results = results
        self._single = single
        self.failed = False
        self.status = 0

    def planned(self, job: SubmittedJob, verdicts: Sequence[Verdict] | None) -> None:
        """Print a job that is not sent."""
        closure = job.closure
        needs = f"{len(closure.modules)} modules, {human_bytes(closure.bytes)}"
        body: dict[str, Any] = {
            "job": job.spec.number, "ref": job.spec.ref, "state": "planned", "modules": len(closure.modules),
            "closure_bytes": closure.bytes, "missing": list(closure.missing),
        }  # fmt: skip
        self._print(body, f"{job.spec.number}  {job.spec.ref}  {needs}", verdicts)

    def ended(self, result: JobResult, job: SubmittedJob, verdicts: Sequence[Verdict] | None) -> None:
        """Print how a job ended."""
        if result.state != "done":
            self.failed = True
        elif result.exit_code:
            self.status = 1
        folder = self._keep(result)
        body: dict[str, Any] = {
            "job": result.number, "ref": result.ref, "input": job.input, "state": result.state,
            "exit_code": result.exit_code, "error": result.error.as_json() if result.error else None,
            "results": result.results, "node": result.node,
            "attempts": result.attempts, "lost": result.lost, "moved_bytes": result.moved_bytes,
            **_text("stdout", result.stdout), **_text("stderr", result.stderr),
            "files": [{"path": file.path, "bytes": len(file.data)} for file in result.files],
            "kept_in": str(folder) if folder else None, "report": result.report,
        }  # fmt: skip
        if self._single and not self._output.as_json:
            self._pass_on(result)
        self._print(body, "" if self._single and result.state == "done" else _line(result, job), verdicts)

    def _pass_on(self, result: JobResult) -> None:
        sys.stdout.buffer.write(result.stdout)
        sys.stdout.buffer.flush()
        sys.stderr.buffer.write(result.stderr)
        sys.stderr.buffer.flush()
        for line in result.results:
            say(line)

    def _print(self, body: dict[str, Any], text: str, verdicts: Sequence[Verdict] | None) -> None:
        if verdicts is not None:
            from bacnode.schedulers.dask.explain import as_json

            body["nodes"] = as_json(verdicts)
            text = joined(filter(None, [text, *(f"  {_verdict(one)}" for one in verdicts)]))
        if self._single and not self._output.as_json and text:
            # What the program printed is on stdout.
            say(text, err=True)
        else:
            self._output.result(body, text)

    def _keep(self, result: JobResult) -> Path | None:
        if self._results is None:
            return None
        from bacpack.files import write_file

        folder = self._results / f"{result.number:04}"
        (folder / "files").mkdir(parents=True, exist_ok=True)
        write_file(folder / "stdout", result.stdout)
        write_file(folder / "stderr", result.stderr)
        for file in result.files:
            target = folder.joinpath("files", *safe(file.path))
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, file.data)
        return folder


def safe(path: str) -> tuple[str, ...]:
    """The names on a path that a worker sent; raises `InputError` for one that leads out of its folder."""
    from bacnode.execution.job import safe_path

    return safe_path(path)


def _line(result: JobResult, job: SubmittedJob) -> str:
    over = f" {job.input}" if job.input else ""
    again = f" after {result.attempts} attempts" if result.attempts > 1 else ""
    where = f" on {result.node}" if result.node else ""
    if result.error is not None:
        return printable(
            f"{result.number}  {result.ref}{over}  {result.error.code}: {result.error.message}{where}{again}"
        )
    return printable(f"{result.number}  {result.ref}{over}  exit {result.exit_code}{where}{again}")


def _verdict(one: Verdict) -> str:
    return f"{one.node}: {'chosen' if one.chosen else f'not chosen ({one.reason})'}; {one.message}"


def _text(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}
