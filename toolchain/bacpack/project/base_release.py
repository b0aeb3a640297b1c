"""What the branch that a change goes to builds to: its release, for comparison."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bacpack.errors import BacpackError, InputError
from bacpack.project.languages.cargo import Cargo
from bacpack.project.settings.config import CONFIG_NAME, Project, load_project


def base_revision(environment: Mapping[str, str]) -> str | None:
    """The revision that a change is compared with, if this is the pipeline of a change."""
    if branch := environment.get("GITHUB_BASE_REF"):
        return f"origin/{branch}"
    return environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA") or None


@contextmanager
def built_base(project: Project, revision: str, build: Callable[[Project], object]) -> Iterator[Path]:
    """Yield the release that a revision of the project builds to, made in a folder of its own.

    Raises `InputError` (`no-base`) when there is no such revision, or it cannot be built.
    """
    assert project.path is not None
    inside = Path(_git(project.folder, revision, "rev-parse", "--show-prefix").strip())
    commit = _git(project.folder, revision, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    with _beside(Path(_git(project.folder, revision, "rev-parse", "--show-toplevel").strip())) as scratch:
        folder = scratch / "base"
        _git(project.folder, revision, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        try:
            base = folder / inside
            if not (base / CONFIG_NAME).is_file():
                raise no_base(revision, f"it has no {CONFIG_NAME}")
            # To cargo the two are one workspace, by their paths in it: in one target folder, what was built of this
            # revision would pass for what is built of the other. In one of its own it stays for the next time.
            with _variables({"CARGO_TARGET_DIR": str(_target_folder(project) / "bacpack-base")}):
                try:
                    build(load_project(base))
                except BacpackError as error:
                    raise no_base(revision, f"it does not build: {error.message}") from error
            yield load_project(base).output
        finally:
            _git(project.folder, revision, "worktree", "remove", "--force", str(folder))


@contextmanager
def _beside(repository: Path) -> Iterator[Path]:
    """A new folder, below the same configuration of cargo as the repository where one can be made there."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".bacpack-base-", dir=repository.parent)
    except OSError:
        scratch = tempfile.TemporaryDirectory(prefix="bacpack-base-")
    with scratch as folder:
        yield Path(folder)


def _target_folder(project: Project) -> Path:
    if not (project.folder / "Cargo.toml").is_file():
        return project.folder / "target"
    return Cargo.find(project.folder).target_folder.absolute()


def no_base(revision: str, why: str) -> InputError:
    """The error for a revision that there is nothing to compare with."""
    return InputError(
        "no-base",
        f"there is nothing to compare with at `{revision}`: {why}",
        hint="check out the whole history (`fetch-depth: 0`), or name a revision with --base",
        details={"revision": revision},
    )


def _git(folder: Path, revision: str, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise no_base(revision, "git is not installed") from error
    if done.returncode != 0:
        raise no_base(revision, done.stderr.strip() or "there is no such revision")
    return done.stdout


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
