"""How the errors of the resolver read."""

from __future__ import annotations

from bacnode.programs.module_graph import Node
from bacpack.errors import BacpackError, InputError, restated


def on_path(error: BacpackError, path: tuple[Node, ...]) -> BacpackError:
    """Return `error` with the path of modules that led to it."""
    names = [node.fetched.name for node in path]
    shown = [*names[:3], "…", *names[-2:]] if len(names) > 6 else names
    return restated(error, f"{error.message} (needed by {' -> '.join(shown)})", {"needed_by": names})


def import_cycle(members: tuple[Node, ...]) -> InputError:
    """The error for modules that import each other."""
    names = [node.fetched.name for node in (*members, members[0])]
    return InputError(
        "import-cycle",
        f"modules import each other in a circle: {' -> '.join(names)}",
        hint="move what both need into a module of its own",
        details={"cycle": names},
    )


def too_deep(limit: int) -> InputError:
    """The error for a path of too many modules."""
    return InputError(
        "too-deep",
        f"more than {limit} modules stand one upon the other",
        hint="no toolchain nests modules so deep: check where this program comes from",
        details={"limit": limit},
    )


def too_many(limit: int) -> InputError:
    """The error for a program of too many modules."""
    return InputError(
        "too-many-modules",
        f"the program needs more than {limit} modules",
        hint="split it with a larger size floor, so that modules are fewer",
        details={"limit": limit},
    )
