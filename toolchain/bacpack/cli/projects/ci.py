"""`bacpack ci`: what a pipeline does with a project, in one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from bacpack.cli.options.provenance_options import provenance_options
from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.projects.build import build
from bacpack.cli.projects.pipelines import (
    Annotation,
    Format,
    annotate,
    detected,
    hand_over,
    is_change,
    markdown_code,
    markdown_table,
    markdown_text,
    summarise,
)
from bacpack.cli.terminal.output import Output, common_options
from bacpack.cli.terminal.streams import told
from bacpack.errors import BacpackError, CheckFailedError, InputError, UnreachableError
from bacpack.files import write_file
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacpack.attest.attach import Circumstances
    from bacpack.manifest import Manifest
    from bacpack.project.build import Built
    from bacpack.project.settings.config import Project

    #: A release to compare with: its manifest, and its blocks with their sizes.
    Base: TypeAlias = tuple[Manifest, dict[str, int]]

EPILOG = """\b
Examples:
  bacpack ci
  bacpack ci --format github --publish --to node:https://node.example
  bacpack ci --base origin/main

\b
Budgets are in bacpack.toml: `max-new-bytes`, `max-closure-bytes` and `require-locked` below [budgets].

\b
With GitHub, annotations go to stdout, the table to $GITHUB_STEP_SUMMARY, and root-cid, car-path, report-json and
new-bytes to $GITHUB_OUTPUT. With GitLab, they go to gl-code-quality-report.json, stdout and bacpack.env.

\b
Exit status:
  0  built, within all budgets, and published
  1  a budget is exceeded, bacpack.lock is stale, cargo failed, or a split did not come out right
  2  wrong usage or configuration
  3  a module or a target could not be reached
"""


@click.command(epilog=EPILOG)
@click.option("--format", "kind", type=click.Choice(["github", "gitlab", "text"]),
              help="The kind of pipeline.  [default: the one that this runs in]")  # fmt: skip
@click.option("--publish/--dry-run", "publish", default=None,
              help="Publish, or only compute.  [default: dry run for a pull or merge request]")  # fmt: skip
@click.option("--to", "targets", metavar="TARGET", multiple=True,
              help="Where to publish, as in `bacpack publish`.")  # fmt: skip
@click.option("--base", metavar="REVISION",
              help="Compare with this revision, or with `none`.  [default: where a merge request goes to]")  # fmt: skip
@provenance_options
@source_options
@common_options
def command(
    output: Output,
    *,
    kind: Format | None,
    publish: bool | None,
    targets: tuple[str, ...],
    base: str | None,
    sources: SourceOptions,
    circumstances: Circumstances,
) -> None:
    """Build the project of this folder, check its budgets, and publish it; for a pull request compute only.

    Where a budget is exceeded nothing is published.
    """
    from bacpack.project.settings.config import Project, load_project

    kind = kind or detected()
    publish = not is_change() if publish is None else publish
    run = _Run(output, Project(), kind, publish, targets, sources, circumstances)
    try:
        run = replace(run, project=load_project())
        output.result(_run(run, base), "")
    except _AnnotatedError as caught:
        annotate(kind, caught.annotations)
        assert isinstance(caught.__cause__, BacpackError)
        raise caught.__cause__ from None
    except BacpackError as error:
        annotate(kind, [run.annotation(error)])
        run.say(
            f"### bacpack\n\n**{error.code}**: {markdown_text(error.message) if kind == 'github' else error.message}"
        )
        raise


def _run(run: _Run, base: str | None) -> dict[str, Any]:
    from bacpack.project.settings.budgets import exceeded

    project, kind = run.project, run.kind
    built = run.build(project)
    release = Path(built.folder)
    car = release.with_name(f"{release.name}.car")
    computed = _published(release, car, run.targets, dry_run=True)
    before, base_name = _base(run, base)
    new_bytes = _new_bytes(release, before) if before else computed["new_bytes"]
    over = list(exceeded(project.tables.budgets, built.manifest, new_bytes))
    publish = run.publish and not over
    done = _published(release, car, run.targets, dry_run=False) if publish else computed
    if not publish:
        _packed(release, car)
    report = {
        "root": computed["root"],
        "apps": computed["apps"],
        "new_bytes": new_bytes,
        "base": base_name,
        "car": str(car),
        "published": done["pins"] if publish else [],
        "exceeded": [{"key": entry.key, "found": entry.found, "allowed": entry.allowed} for entry in over],
        "seconds": built.seconds,
    }
    path = release.with_name(f"{release.name}.report.json")
    write_file(path, json.dumps({"schema": 1, **report}, indent=2).encode() + b"\n")
    hand_over(
        kind,
        {
            "root-cid": computed["root"],
            "car-path": str(car),
            "report-json": str(path),
            "new-bytes": str(new_bytes),
        },
    )
    run.say(_summary(built.manifest, before, report))
    if over:
        problems = [
            Annotation("error", run.file, run.line("budgets", entry.key), "budget exceeded", entry.message)
            for entry in over
        ]
        raise _AnnotatedError(problems) from CheckFailedError(
            "budget-exceeded",
            f"`{over[0].key}` is exceeded: {over[0].message}"
            + (f"; {len(over)} budgets in all are exceeded" if len(over) > 1 else ""),
            hint=f"make it smaller, or raise the budget in {run.file}; `bacpack split --explain` says what is large",
            details={"exceeded": report["exceeded"]},
        )
    annotate(kind, [])
    return report


class _AnnotatedError(Exception):
    """An error that was put down to lines; the error itself is its cause."""

    def __init__(self, annotations: list[Annotation]) -> None:
        super().__init__()
        self.annotations = annotations


@dataclass(frozen=True, slots=True)
class _Run:
    """What a run of the command is about."""

    output: Output
    project: Project
    kind: Format
    publish: bool
    targets: Sequence[str]
    sources: SourceOptions
    circumstances: Circumstances

    @property
    def file(self) -> str:
        """The configuration, as the repository calls it."""
        if self.project.path is None:
            return "bacpack.toml"
        root = Path(os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or Path.cwd()).resolve()
        path = self.project.path.resolve()
        return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

    def line(self, table: str, key: str | None = None) -> int:
        """The line of a key in it."""
        from bacpack.project.settings.budgets import line_of

        return line_of(self.project.path.read_text(encoding="utf-8"), table, key) if self.project.path else 1

    def build(self, project: Project) -> Built:
        """Build this project, or another revision of it."""
        locked = project is self.project and project.tables.budgets.require_locked
        return build(self.output, project.path, locked=locked, sources=self.sources, circumstances=self.circumstances)

    def say(self, markdown: str) -> None:
        """Show the summary, unless stdout is for JSON."""
        if self.kind == "github" or not self.output.as_json:
            summarise(self.kind, markdown)

    def annotation(self, error: BacpackError) -> Annotation:
        """What to say of an error, at the line that it is about."""
        module = error.details.get("module")
        table, key = ("modules", str(module)) if module else ("build", None)
        if error.code == "lock-stale":
            table, key = ("budgets", "require-locked") if module not in self.project.tables.modules else (table, key)
        hint = f" ({error.hint})" if error.hint else ""
        return Annotation("error", self.file, self.line(table, key), error.code, f"{error.message}{hint}")


def _base(run: _Run, base: str | None) -> tuple[Base | None, str | None]:
    """The release of the revision that is compared with, and what it is called; what cannot be built is noted."""
    from bacpack.manifest import load_manifest
    from bacpack.project.base_release import base_revision, built_base

    revision = base or base_revision(os.environ)
    if revision in (None, "none") or run.project.path is None:
        return None, None
    assert revision is not None
    try:
        with built_base(run.project, revision, run.build) as release:
            return (load_manifest(release), _blocks(release)), revision
    except InputError as error:
        if base or error.code != "no-base":
            raise
        run.output.note(told(error))
        return None, None


def _blocks(release: Path) -> dict[str, int]:
    """Every block of a release, with its size."""
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder
    from bacpack.publish.release.release import plan_release

    planned = plan_release((release,), BlockStore(data_folder()))
    return {str(cid): size for cid, size in planned.sizes.items()}


def _new_bytes(release: Path, before: Base) -> int:
    return sum(size for cid, size in _blocks(release).items() if cid not in before[1])


def _published(release: Path, car: Path, targets: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
    """Publish as the command does, or find out what that would bring."""
    named = [option for target in targets for option in ("--to", target)]
    more = ["--dry-run"] if dry_run else ["--car", str(car)]
    return _command("publish", str(release), *named, *more)


def _packed(release: Path, car: Path) -> None:
    _command("pack", str(release), "-o", str(car))


def _command(*arguments: str) -> dict[str, Any]:
    """Run another command of bacpack; raise the error that it ends with."""
    command = [sys.executable, "-m", "bacpack.cli", *arguments, "--json", "--quiet"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    if done.returncode == 0:
        return answer
    error = answer["error"]
    kinds = {1: CheckFailedError, 3: UnreachableError}
    raise kinds.get(done.returncode, InputError)(
        error["code"], error["message"], hint=error["hint"], details=error["details"]
    )


def _summary(manifest: Manifest, before: Base | None, report: dict[str, Any]) -> str:
    """What came, for people."""
    earlier = {app.name: app for app in before[0].apps} if before else {}
    rows = [["program", "CID", "remainder", "with modules", "before"]]
    for app in manifest.apps:
        old = earlier.get(app.name)
        change = "" if before is None else "new" if old is None else human_bytes(old.closure_bytes)
        change = "unchanged" if old and old.cid == app.cid else change
        rows.append(
            [markdown_text(app.name), f"`{app.cid}`", human_bytes(app.bytes), human_bytes(app.closure_bytes), change]
        )
    if before is None:
        rows = [row[:-1] for row in rows]
    against = f"beyond {markdown_code(report['base'])}" if before else "to where it is published"
    lines = ["### bacpack", "", markdown_table(rows), ""]
    lines.append(f"Root `{report['root']}`, {human_bytes(report['new_bytes'])} new {against}.")
    if report["published"]:
        lines.append("Published to " + ", ".join(markdown_code(pin["target"]) for pin in report["published"]) + ".")
    lines += [f"**`{entry['key']}` exceeded**: {entry['found']} bytes, {entry['allowed']} allowed." for entry in
              report["exceeded"]]  # fmt: skip
    return "\n".join(lines)
