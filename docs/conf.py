"""How Sphinx builds these pages: `make docs`. No page needs the network."""

import sys
from pathlib import Path

import click
from sphinx.application import Sphinx

from bacpack import __version__

sys.path.insert(0, str(Path(__file__).parent))
from layers import Layers

project = "bacpack"
copyright = "the bacpack authors"
release = version = __version__

extensions = ["myst_parser", "sphinx_click"]
exclude_patterns = ["_build", "_benchmarks"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Help texts are written for a terminal: `--json` is two hyphens, and what stands in backticks is code.
smartquotes = False
default_role = "code"

html_theme = "furo"
html_title = f"bacpack {release}"
html_static_path = ["_static"]


def setup(app: Sphinx) -> None:
    """Show examples as they are typed, and the packages as a picture."""
    app.add_directive("layers", Layers)
    app.connect("sphinx-click-process-epilog", write_epilog)


def write_epilog(_app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Write the indented lines of an epilog, which are examples and tables, as they stand."""
    lines.clear()
    for paragraph in (context.command.epilog or "").replace("\b\n", "").strip().split("\n\n"):
        title, *rest = paragraph.splitlines() or [""]
        indented = [line for line in rest if line.startswith("  ")]
        prose = [line for line in rest if line not in indented]
        lines += [f"{title.rstrip(':')}::", "", *indented, "", *prose, ""] if indented else [title, *prose, ""]
