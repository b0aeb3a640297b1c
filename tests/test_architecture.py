"""The page on architecture names every package once, and what each imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "concepts" / "architecture.md").read_text()
#: The rows of the table: a package as it is imported, its folder, and what the last column says.
ROWS = [
    (folder.split("/", 1)[1].strip("/").replace("/", "."), REPOSITORY / folder, imports)
    for folder, imports in re.findall(r"^\| `((?:toolchain|node)/[\w/]+)` \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
]
#: Modules beside the packages that not all may import.
HIGHER = {"bacpack.imports", "bacpack.link"}


def imported(path: Path) -> Iterator[str]:
    """What of ours a file imports, by the package or the module beside the packages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in ("bacpack", "bacnode"):
            first, *rest = node.module.split(".")
            names = [node.module] if rest else [f"{first}.{alias.name}" for alias in node.names]
            yield from (".".join(name.split(".")[:2]) for name in names)


def is_package(name: str) -> bool:
    return any((REPOSITORY / root / name.replace(".", "/")).is_dir() for root in ("toolchain", "node"))


@pytest.mark.parametrize(("package", "folder", "said"), ROWS, ids=[row[0] for row in ROWS])
def test_a_package_imports_what_the_page_allows(package: str, folder: Path, said: str) -> None:
    files = folder.glob("*.py") if package == "bacnode" else folder.rglob("*.py")
    uses = {name for file in files for name in imported(file)}
    # The devstack begins nodes, as the command line does.
    uses = {name for name in uses if name not in (package, "bacpack.__version__")} - (
        {"bacnode.service"} if package == "bacnode" else set()
    )
    allowed = set(re.findall(r"`([\w.]+)`", said))
    if said == "all":
        return
    for name in uses:
        if name.startswith("bacnode.") and not is_package(name):
            assert "bacnode" in allowed or package == "bacnode", f"{package} imports {name}"
        elif is_package(name) or name in HIGHER:
            assert name in allowed, f"{package} imports {name}"
    named = {name for name in allowed if name != "bacnode"}
    assert named <= uses, f"{package} imports no {', '.join(named - uses)}"


def test_every_package_is_named_once() -> None:
    packages = [
        str(path.parent.relative_to(REPOSITORY)) + "/"
        for root in ("toolchain", "node")
        for path in (REPOSITORY / root).glob("*/*/__init__.py")
    ]
    assert sorted(packages) == sorted(
        str(folder.relative_to(REPOSITORY)) + "/" for name, folder, _ in ROWS if name != "bacnode"
    )


def test_every_module_beside_the_packages_is_named() -> None:
    modules = [path.stem for path in (REPOSITORY / "toolchain" / "bacpack").glob("*.py") if path.stem != "__init__"]
    assert [name for name in modules if f"`{name}`" not in PAGE] == []
