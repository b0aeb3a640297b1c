"""`bacpack new`: make a Rust project from a template."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bacpack.cli.terminal.output import Output, common_options
from bacpack.text import shell_word

if TYPE_CHECKING:
    from bacpack.project.template import Target, Template

EPILOG = """\b
Examples:
  bacpack new hello --template workspace
  bacpack new parser --template module --no-std
  bacpack new report --template job --module parser=bafkrei…
  bacpack new hello --target wasm32-wasi    # for a Rust before 1.78, such as that of Debian 12

\b
Templates:
  job        a WASI program that calls a module which others share
  module     such a module, and the crate that programs call it by
  workspace  both, wired together

\b
Exit status:
  0  done
  2  wrong usage, or the folder is in use
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option("--template", type=click.Choice(["job", "module", "workspace"]),
              help="What to make; asked for on a terminal, else `workspace`.")  # fmt: skip
@click.option("--module", metavar="NAME[=REF]",
              help="The module that the program calls; for a job also what it is.  [default: greet]")  # fmt: skip
@click.option("--no-std", is_flag=True, help="Build the module without Rust's standard library.")
@click.option("--target", type=click.Choice(["wasm32-wasip1", "wasm32-wasi"]), default="wasm32-wasip1",
              show_default=True, help="What programs are built for: before Rust 1.78 wasm32-wasi.")  # fmt: skip
@click.option("--path", "folder", metavar="DIR", type=click.Path(path_type=Path),
              help="Folder to write to.  [default: NAME]")  # fmt: skip
@common_options
def command(
    output: Output,
    *,
    name: str,
    template: Template | None,
    module: str | None,
    no_std: bool,
    target: Target,
    folder: Path | None,
) -> None:
    """Make a Rust project called NAME: plain crates that cargo alone builds and tests, and a bacpack.toml."""
    from bacpack.project.template import DEFAULT_MODULE, Wanted, make_project

    template = template or _ask(output)
    module_name, _, source = (module or "").partition("=")
    if template == "module":
        if module:
            raise click.UsageError("--module names the module of a job or workspace; of a module, NAME does")
        module_name = name
    elif template == "workspace" and source:
        raise click.UsageError("a workspace builds its module itself: --module NAME, or --template job")
    wanted = Wanted(template, name, module_name or DEFAULT_MODULE, source or None, no_std, target)
    folder = folder or Path(name)
    files = make_project(folder, wanted)
    paths = [str(path.relative_to(folder)) for path in files]
    result = {"name": name, "template": template, "path": str(folder), "files": paths}
    output.result(result, "\n".join([f"{folder}/", *(f"  {path}" for path in paths)]))
    output.note(f"next: cd {shell_word(folder)} && bacpack build")


def _ask(output: Output) -> Template:
    """The template that the person wants, if there is one to ask."""
    if output.quiet or not sys.stdin.isatty():
        return "workspace"
    answer = click.prompt("template", default="workspace", type=click.Choice(["job", "module", "workspace"]), err=True)
    return cast("Template", answer)
