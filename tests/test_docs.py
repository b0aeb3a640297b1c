"""The documentation builds, prints what readers get, and lists every error code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"

HYPHENATED = re.compile(r"[a-z]+(?:-[a-z0-9]+)+")
#: Text in the source that looks like an error code and is none.
NOT_CODES = {
    "unixfs-v1-2025", "self-hosted", "processed-by", "dry-run", "no-color", "utf-8", "component-name",
    "legacy-exceptions", "node-token", "node-key",
    # Names in the protocols that a node speaks.
    "dag-scope", "entity-bytes", "car-version", "car-order", "car-dups", "only-if-cached", "latin-1",
    # What pages say to browsers.
    "no-store", "no-cache", "same-origin",
    # Files and protocols of nodes.
    "compiled-key", "bacpack-jobs",
    "filter-addrs", "filter-protocols", "transport-ipfs-gateway-http",
}  # fmt: skip
NOT_CODES |= {"pin-roots", "pinning-service", "bacpack-wasm"}
# Keys and resources that a Dask scheduler knows.
NOT_CODES |= {"bacpack-ensure", "bacpack-lack", "bacpack-withdraw", "bacpack-memory", "bacpack-runs", "bacpack-modules",
    "bacpack-present-2", "dask-worker", "max-missing-bytes", "ca-file",
}  # fmt: skip
# Of cargo, of bacpack.toml and of pipelines.
NOT_CODES |= {"bacpack-base", "build-script-executed", "default-members", "linker-flavor", "required-features"}
NOT_CODES |= {"rust-toolchain", "rev-parse", "wasm-tools", "compiler-artifact",
    "json-render-diagnostics", "max-new-bytes", "max-closure-bytes", "require-locked",
    "root-cid", "car-path", "report-json", "new-bytes",
}  # fmt: skip

#: How jobs end that no call failed for.
JOB_CODES = {"cancelled", "interrupted"}


@pytest.mark.long
def test_docs_build_without_warnings(tmp_path: Path) -> None:
    missing = [name for name in ("sphinx", "myst_parser", "furo", "sphinx_click") if find_spec(name) is None]
    assert not missing, f"the documentation cannot be built without {', '.join(missing)}: `make test` installs them"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "reference" / "cli.html").is_file()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/guides/getting-started.md"])
def test_make_targets_exist(name: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^\$ |`)make (?:[A-Z]+=\S+ )?([a-z]+)", (REPOSITORY / name).read_text(), re.MULTILINE))
    assert named
    assert named <= targets


def unfenced(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What links to a page may lead to: its headings, as MyST and forges name them."""
    headings = re.findall(r"^#+ (.*)$", unfenced(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    """Also to a heading, and from pages that the documentation does not build."""
    pages = [*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), *REPOSITORY.glob("examples/**/*.md")]
    lost = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", unfenced(page)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                lost.append(f"{page.relative_to(REPOSITORY)}: {link}")
    assert lost == []


def test_the_changelog_has_its_form() -> None:
    """That of Keep a Changelog: versions, the newest first, and below each the kinds of changes."""
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    first, *versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions)
    assert versions == sorted(versions, reverse=True)
    for part in text.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert kinds
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert len(kinds) == len(set(kinds))
        for section in part.split("\n### ")[1:]:
            entries = section.partition("\n\n")[2].strip()
            assert all(line.startswith(("- ", "  ")) for line in entries.splitlines()), section


def test_error_codes_are_those_of_the_source() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", (DOCS / "reference" / "errors.md").read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    raised = set(_codes()) - NOT_CODES | JOB_CODES
    assert raised - set(listed) == set(), "list them in docs/reference/errors.md, or in NOT_CODES if they are no codes"
    assert set(listed) - raised == set(), "no code raises them: take them out of docs/reference/errors.md"


def _codes() -> Iterator[str]:
    """Every text in the source that is written as a code is: words joined by hyphens, or one as an error's first."""
    for path in (*REPOSITORY.glob("toolchain/**/*.py"), *REPOSITORY.glob("node/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and HYPHENATED.fullmatch(node.value):
                yield node.value
            elif isinstance(node, ast.Call) and len(node.args) > 1 and _makes_error(node.func):
                match node.args[0]:
                    case ast.Constant(value=str(word)) if word.isalpha() and word.islower():
                        yield word


def _makes_error(function: ast.expr) -> bool:
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    return name.endswith("Error") or name in ("kind", "base")
