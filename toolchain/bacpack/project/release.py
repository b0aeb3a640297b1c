"""What a project's folder stands for where a release is named: what `bacpack build` wrote."""

from __future__ import annotations

from pathlib import Path

from bacpack.errors import InputError
from bacpack.manifest import MANIFEST_NAME
from bacpack.project.config import CONFIG_NAME, load_project


def built_release(paths: tuple[Path, ...]) -> tuple[tuple[Path, ...], str | None]:
    """Return the paths of a release, and its name where `paths` is the folder of a project alone.

    Raises `InputError` (`not-built`) for a project that was not built.
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
    return (output,), paths[0].resolve().name
