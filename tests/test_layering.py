"""The list of packages in docs/concepts/architecture.md holds: every import goes up that page, never down it.

A package imports from those named before it, and in a package a file from those named before it; imports inside
functions and under `TYPE_CHECKING` count. So nothing is circular, neither between packages nor between files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "concepts" / "architecture.md"
ROOTS = {"bacpack": REPOSITORY / "toolchain", "bacnode": REPOSITORY / "node"}
MOST_FILES, MOST_LINES, MOST_LINES_OF_FUNCTION = 15, 400, 60


def listed() -> dict[str, list[str]]:
    """The files of each package, both in the order of the page."""
    rows = re.findall(r"^\| `((?:bacpack|bacnode)[\w/]*)/` \|[^|]*\| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)
    return {package: [f"{package}/{name}" for name in re.findall(r"`(\w+)`", files)] for package, files in rows}


def sources() -> dict[str, Path]:
    """Every file of the product, by its path without `.py`."""
    return {
        str(path.relative_to(root).with_suffix("")): path
        for package, root in ROOTS.items()
        for path in sorted((root / package).rglob("*.py"))
    }


def ranks() -> dict[str, int]:
    """Where each file stands. What a package offers as a whole stands after its files."""
    order = [file for package, files in listed().items() for file in (*files, f"{package}/__init__")]
    # These two hold the version alone.
    return {file: place for place, file in enumerate(order)} | {"bacpack/__init__": -1, "bacnode/__init__": -1}


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The files that one imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write where it comes from in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in ROOTS:
                yield _file_of(name.replace(".", "/"), known)


def _file_of(name: str, known: dict[str, Path]) -> str:
    """The file that `a/b/c` means: a module, a package, or a name in one of them."""
    parent = name.rpartition("/")[0]
    return next(file for file in (name, f"{name}/__init__", parent, f"{parent}/__init__") if file in known)


def test_every_file_is_in_the_list_once() -> None:
    files = [file for files in listed().values() for file in files]
    assert len(files) == len(set(files))
    there = {file for file in sources() if not file.endswith("/__init__")}
    assert there - set(files) == set(), "say in the list where they stand"
    assert set(files) - there == set(), "the list names what is not there"


def test_imports_go_up_the_page_alone() -> None:
    known, rank = sources(), ranks()
    down = {
        (file, other)
        for file, path in known.items()
        for other in imported(path, known)
        if other != file and rank.get(other, len(rank)) >= rank.get(file, -1)
    }
    assert down == set()


def test_no_package_has_too_many_files() -> None:
    crowded = {package for package, files in listed().items() if len(files) > MOST_FILES}
    assert crowded == set()


def test_no_file_or_function_is_too_long() -> None:
    long = set()
    for file, path in sources().items():
        text = path.read_text()
        if text.count("\n") > MOST_LINES:
            long.add(file)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > MOST_LINES_OF_FUNCTION:
                    long.add(f"{file}: {node.name}")
    assert long == set()


def test_the_table_of_changes_names_what_is_there() -> None:
    table = PAGE.read_text().partition("## To change X, go to Y")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 22
    named = set(re.findall(r"`([\w/]+(?:/|\.py))`", table))
    roots = [root / package for package, root in ROOTS.items()] + [REPOSITORY]
    assert {path for path in named if not any((root / path).exists() for root in roots)} == set()
