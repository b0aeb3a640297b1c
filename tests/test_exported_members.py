"""The public names of the libraries that others may import are themselves tested."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import bacpack

PUBLIC = {
    "bacpack.wasm": [
        "Export", "FuncType", "GlobalType", "Import", "Kind", "Limits", "Module", "SectionId", "TableType", "WasmError",
    ],
    "bacpack.content.car": ["CarError", "CarReader", "car_chunks"],
}  # fmt: skip


@pytest.mark.parametrize("library", PUBLIC)
def test_public_names_are_those_documented(library: str) -> None:
    module = importlib.import_module(library)
    assert module.__all__ == PUBLIC[library]
    for name in PUBLIC[library]:
        assert getattr(module, name).__doc__, name


@pytest.mark.parametrize(
    ("package", "others"), [("wasm", ("errors",)), ("content", ("errors", "files", "sqlite_file", "text"))]
)
def test_a_library_of_its_own_imports_nothing_of_the_rest(package: str, others: tuple[str, ...]) -> None:
    allowed = (f"bacpack.{package}", *(f"bacpack.{name}" for name in others))
    for path in Path(bacpack.__path__[0], package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bacpack"):
                assert node.module.startswith(allowed), f"{path.name} imports {node.module}"
