"""What a project's folder stands for where a release is named: what `bacpack build` wrote of its sources."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from bacpack.errors import BacpackError, CheckFailedError, InputError
from bacpack.manifest import MANIFEST_NAME
from bacpack.project.languages.sources import compile_project
from bacpack.project.settings.config import CONFIG_NAME, load_project
from bacpack.project.up_to_date import changed_since, sources_of
from bacpack.text import shell_word

#: Errors that say that nothing can be built here, and not that something was changed.
_CANNOT_ASK = frozenset({"no-cargo", "no-rust-target", "no-rust-toolchain"})


def built_release(paths: tuple[Path, ...], note: Callable[[str], object]) -> tuple[tuple[Path, ...], str | None]:
    """Return the paths of a release, and its name where `paths` is the folder of a project alone.

    `note` is told where it cannot be known whether the release is that of the sources. Raises `InputError`
    (`not-built`) for a project that was not built, `CheckFailedError` (`build-stale`) for one that was changed since.
    """
    if len(paths) != 1 or (paths[0] / MANIFEST_NAME).is_file() or not (paths[0] / CONFIG_NAME).is_file():
        return paths, None
    output = load_project(paths[0]).output
    if not (output / MANIFEST_NAME).is_file():
        raise InputError(
            "not-built",
            f"`{paths[0]}` is a project, and there is no release in `{output}`",
            hint="run `bacpack build` there",
            details={"path": str(output)},
        )
    _refuse_stale(paths[0], output, note)
    return (output,), paths[0].resolve().name


def _refuse_stale(folder: Path, output: Path, note: Callable[[str], object]) -> None:
    """Ask cargo, as a build does, and compare what it gives with what the release was made of."""
    project = load_project(folder)
    try:
        changed = changed_since(project, sources_of(project, compile_project(project, [], lambda _: None, _no_step)))
    except BacpackError as error:
        if error.code in _CANNOT_ASK:
            note(f"whether `{output}` is what the sources say is not known: {error.message}")
            return
        raise _stale(output, f"they do not build now ({error.message})", []) from error
    if changed is None:
        note(f"whether `{output}` is what the sources say is not known: no build was noted beside it")
    elif changed:
        raise _stale(output, f"{', '.join(changed)} changed since it was built", changed)


def _stale(output: Path, why: str, changed: list[str]) -> CheckFailedError:
    return CheckFailedError(
        "build-stale",
        f"the release in `{output}` is older than the sources: {why}",
        hint=f"run `bacpack build`, then publish; `bacpack publish {shell_word(output)}` takes it as it is",
        details={"path": str(output), "changed": changed},
    )


def _no_step(_name: str) -> nullcontext[None]:
    return nullcontext()
