"""How Sphinx builds these pages: `make docs`. No page needs the network."""

import click
from sphinx.application import Sphinx

from bacpack import __version__
from bacpack.cli import cli

project = "bacpack"
copyright = "the bacpack authors"
release = version = __version__

extensions = ["myst_parser", "sphinx_click"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Help texts are written for a terminal: `--json` is two hyphens, and what stands in backticks is code.
smartquotes = False
default_role = "code"

html_theme = "furo"
html_title = f"bacpack {release}"
html_static_path = ["_static"]


def setup(app: Sphinx) -> None:
    """Show commands as they are called, with their environment variables, and examples as they are typed."""
    context = click.Context(cli, info_name="bacpack")
    for name in cli.list_commands(context):
        name_command(cli.get_command(context, name), name)
    app.connect("sphinx-click-process-epilog", write_epilog)


def name_command(command: click.Command, name: str) -> None:
    """Tell a command its name, and each option the variable that sets it, which click works out on each call."""
    command.name = name.rpartition("_")[2]
    for option in command.params:
        if isinstance(option, click.Option) and option.show_envvar:
            option.envvar = option.envvar or f"BACPACK_{name}_{option.name}".upper()
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        name_command(below, f"{name}_{below.name}")


def write_epilog(_app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Write the indented lines of an epilog, which are examples and tables, as they stand."""
    lines.clear()
    for paragraph in (context.command.epilog or "").replace("\b\n", "").strip().split("\n\n"):
        title, *rest = paragraph.splitlines() or [""]
        indented = [line for line in rest if line.startswith("  ")]
        prose = [line for line in rest if line not in indented]
        lines += [f"{title.rstrip(':')}::", "", *indented, "", *prose, ""] if indented else [title, *prose, ""]
