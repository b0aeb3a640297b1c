"""Pipelines install what was looked at, by hash, and nothing by a name that somebody else may hold."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import soak
from bacpack.project.pipeline_packages import pipeline_files
from project.conftest import REPOSITORY, TARGET_FOLDER, Rust
from project.test_action import ACTION, WORKFLOW, load
from wanting import skip

GITLAB = REPOSITORY / "ci" / "gitlab.yml"
LOCKS = (REPOSITORY / "templates" / "requirements.txt", REPOSITORY / "ci" / "build.txt")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def locked(path: Path) -> dict[str, list[Requirement]]:
    """What a lock pins: there may be one version for each version of Python."""
    entries = re.split(r"\n(?=[\w.])", re.sub(r"^ *#.*\n", "", path.read_text(), flags=re.MULTILINE))
    found: dict[str, list[Requirement]] = {}
    for entry in entries:
        line, *hashes = entry.strip().split(" \\\n")
        assert hashes, line
        assert all(re.fullmatch(r" *--hash=sha256:[0-9a-f]{64}", text) for text in hashes), line
        requirement = Requirement(line)
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), line
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def run(
    words: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    line = [*map(str, words)]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="session")
def index() -> None:
    """Something to install from; hashes are of files that only it has."""
    line = [sys.executable, "-m", "pip", "index", "versions", "pip", "--retries", "0", "--timeout", "20"]
    if run(line).returncode:
        skip("an index of packages")


def clean(folder: Path, *paths: Path) -> dict[str, str]:
    """What a machine has on which nobody is signed in; pip asks the index that it asks here."""
    home = folder / "home of nobody"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "PROXY" in name.upper()}
    kept |= {name: os.environ[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if name in os.environ}
    cached = run([sys.executable, "-m", "pip", "cache", "dir"]).stdout.strip()
    path = os.pathsep.join([*map(str, paths), "/usr/bin", "/bin"])
    return {**kept, "PIP_CACHE_DIR": cached, "PATH": path, "HOME": str(home), "LANG": "C.UTF-8"}


def venv(folder: Path) -> Path:
    """The programs of an environment that holds pip alone."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin"


def bash(script: str, folder: Path, environment: dict[str, str]) -> str:
    done = run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=folder, env=environment)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_locks_say_what_pyproject_asks_for() -> None:
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["sign"]]
    for path, direct in zip(LOCKS, (wanted, PROJECT["build-system"]["requires"]), strict=True):
        pinned = locked(path)
        needed = [Requirement(text) for text in direct]
        seen = set()
        while needed:
            requirement = needed.pop()
            name = canonicalize_name(requirement.name)
            assert name in pinned, f"{path.name} lacks {requirement}: make lock"
            versions = [str(entry.specifier).removeprefix("==") for entry in pinned[name]]
            assert any(requirement.specifier.contains(version) for version in versions), f"{requirement}: make lock"
            if name not in seen:
                seen.add(name)
                needed += further(name)
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def further(name: str) -> Iterator[Requirement]:
    """What a package that is installed here needs, as it says itself."""
    try:
        texts = requires(name) or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def scripts() -> Iterator[str]:
    """Every script of every pipeline of ours."""
    yield from (step["run"] for step in load(ACTION)["runs"]["steps"])
    yield from steps(WORKFLOW.read_text())
    job = load(GITLAB)["bacpack"]
    yield "\n".join([*job["before_script"], *job["script"]])


def steps(workflow: str) -> list[str]:
    rendered = workflow.replace("{% raw %}", "").replace("{% endraw %}", "")
    [job] = yaml.safe_load(rendered)["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def test_pipelines_install_by_hash_or_what_lies_there() -> None:
    lines = [line.strip() for script in scripts() for line in script.splitlines() if re.search(r"\binstall [^(]", line)]
    lines = [line for line in lines if not line.startswith(("apt-get ", "install()"))]
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)
        as_it_lies = {"--no-index", "--no-deps", "--no-build-isolation"} <= set(words)
        assert as_it_lies or "--require-hashes" in words, line
        given = [word for word in words[words.index("install") + 1 :] if not word.startswith("-")]
        assert all("/" in word or word == "$BACPACK_SOURCE" for word in given), line


OTHER_PROJECT = re.compile(
    r"(?:pip3? install|pipx (?:install|run)|uv tool (?:install|run)|uv (?:pip install|add)|uvx)"
    r"(?: +-\S+)* +['\"]?bacpack(?:-wasm)?(?![\w./-])(?! @)"
)


def test_nothing_says_to_install_the_other_project() -> None:
    assert OTHER_PROJECT.search("pip install 'bacpack[node]'")
    assert OTHER_PROJECT.search("pip install -q bacpack==0.1.0")
    assert OTHER_PROJECT.search("uvx bacpack split")
    tracked = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "action.yml", "Makefile")]
    for folder in ("ci", "docs", "examples", "templates", "toolchain", "node", "benchmarks"):
        tracked += (REPOSITORY / folder).rglob("*")
    kinds = {".md", ".py", ".yml", ".toml", ".txt", ".html", ""}
    texts = {path: path.read_text() for path in tracked if path.is_file() and path.suffix in kinds and not built(path)}
    assert len(texts) > 300
    assert [f"{path}: {found[0]}" for path, text in texts.items() for found in OTHER_PROJECT.finditer(text)] == []


def built(path: Path) -> bool:
    return not {"__pycache__", "target", "_build"}.isdisjoint(path.relative_to(REPOSITORY).parts)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The files that a project gets for its pipeline, by kind."""
    (tmp_path / "ci").mkdir()
    for name, data in pipeline_files():
        (tmp_path / name).write_bytes(data)
    return {path.suffix: path for path in (tmp_path / "ci").iterdir()}


def test_the_wheel_of_a_project_is_this_bacpack(files: dict[str, Path], tmp_path: Path) -> None:
    wheel = files[".whl"]
    assert f"--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n" in files[".txt"].read_text()
    environment = clean(tmp_path)
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", installed, wheel]
    done = run(pip, env=environment)
    assert done.returncode == 0, done.stderr
    for package in (REPOSITORY / "toolchain" / "bacpack", REPOSITORY / "node" / "bacnode"):
        for path in package.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (installed / package.name / path.relative_to(package)).read_bytes() == path.read_bytes()
    entry = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert entry.read_text().splitlines()[1:] == [
        f"{name} = {to}" for name, to in PROJECT["project"]["scripts"].items()
    ]
    # What is installed from it makes the same one, and no folder of this machine stands in it.
    words = [sys.executable, "-m", "bacpack.cli", "new", "again", "--template", "job", "--quiet"]
    done = run(words, cwd=tmp_path, env={**environment, "PYTHONPATH": str(installed)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "ci" / wheel.name).read_bytes() == wheel.read_bytes()
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
        assert not [name for name in archive.namelist() if str(REPOSITORY).encode() in archive.read(name)]


def test_a_new_project_passes_its_own_pipeline(index: None, toolchain: Rust, tmp_path: Path) -> None:
    """Each step as it stands in the workflow, in a folder with a space in its name."""
    if toolchain.target != "wasm32-wasip1":
        skip("Rust 1.78")
    project = tmp_path / "a clone" / "hello"
    done = run([sys.executable, "-m", "bacpack.cli", "new", "hello", "--path", project], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    environment = clean(tmp_path, venv(tmp_path / "set up"), Path(toolchain.cargo).parent)
    environment |= {name: os.environ[name] for name in ("RUSTUP_HOME", "CARGO_HOME") if name in os.environ}
    for name, folder in (("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")):
        environment.setdefault(name, str(Path.home() / folder))
    environment |= {"CARGO_TARGET_DIR": str(TARGET_FOLDER), "GITHUB_ACTIONS": "true"}
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        environment[name] = str(tmp_path / name)
    has_clippy = run([toolchain.cargo, "clippy", "--version"], cwd=project).returncode == 0
    for step in steps((project / ".github" / "workflows" / "bacpack.yml").read_text()):
        bash(step if has_clippy else re.sub("^cargo clippy.*\n", "", step), project, environment)
    assert "root-cid=baf" in (tmp_path / "GITHUB_OUTPUT").read_text()


def runs_in_gitlab(c_project: Path, tmp_path: Path) -> None:
    for name, data in pipeline_files():
        (c_project / name).parent.mkdir(exist_ok=True)
        (c_project / name).write_bytes(data)
    job = load(GITLAB)["bacpack"]
    environment = clean(tmp_path) | job["variables"] | {"CI_BUILDS_DIR": str(tmp_path / "builds"), "GITLAB_CI": "true"}
    environment["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{environment['PATH']}"
    script = [line for line in (*job["before_script"], *job["script"]) if not line.startswith("apt-get")]
    bash("\n".join(script), c_project, environment)
    assert "BACPACK_ROOT_CID=baf" in (c_project / "bacpack.env").read_text()


def runs_as_the_action(c_project: Path, tmp_path: Path) -> None:
    source = tmp_path / "an action"
    for name in ("ci", "node", "templates", "toolchain"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copyfile(REPOSITORY / name, source / name)
    [first, _] = load(ACTION)["runs"]["steps"]
    environment = clean(tmp_path) | {"BACPACK_SOURCE": str(source), "RUNNER_TEMP": str(tmp_path / "temp")}
    environment["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{environment['PATH']}"
    bash(first["run"], c_project, environment)
    installed = tmp_path / "temp" / "bacpack" / "bin" / "bacpack"
    done = run([installed, "ci", "--format", "text", "--dry-run"], cwd=c_project, env=environment)
    assert done.returncode == 0, done.stderr


#: The job for GitLab installs as the workflow of a new project does.
WAYS = [runs_as_the_action, runs_in_gitlab] if soak.TIMES > 1 else [runs_as_the_action]


@pytest.mark.parametrize("runs", WAYS)
def test_a_pipeline_installs_by_itself_and_builds(
    index: None, c_project: Path, tmp_path: Path, runs: Callable[[Path, Path], None]
) -> None:
    runs(c_project, tmp_path)
