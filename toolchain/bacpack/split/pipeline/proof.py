"""Every split is proved equal to its blobs before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bacpack.errors import CheckFailedError
from bacpack.parallel import in_workers
from bacpack.split.model.records import OutputApp, Split


def prove_split(
    split: Split,
    show: Callable[[str], None],
    catalogs: Sequence[str] = (),
    linked: Mapping[str, str] | None = None,
) -> Split:
    """Link the split again and compare it with its blobs; return it with all its programs marked as proved.

    A program that stays as it is needs no proof. `catalogs` are those that modules may come from, `linked` has what
    stands in a remainder for namespaces of its blob. Raises `CheckFailedError` naming the function that differs.
    """
    from bacpack.proof.equivalence.components import prove_program
    from bacpack.proof.equivalence.prover import Prover

    prover = Prover({cid: module.data for cid, module in split.modules.items()}, linked)
    changed = [app for app in split.apps if app.data != app.blob]

    def prove(position: int) -> None:
        app = changed[position]
        try:
            prove_program(prover, app.blob, app.data)
        except CheckFailedError as error:
            is_known = error.code == "not-equivalent"
            verdict = "is not its blob" if is_known else "cannot be proved"
            raise CheckFailedError(
                error.code,
                f"the split of `{app.name}` {verdict}, so nothing was written: {error.message}",
                hint=_hint(split, app, catalogs) if is_known else error.hint,
                details={"app": app.name, **error.details},
            ) from error

    in_workers(prove, [len(app.blob) for app in changed], show, "programs proved")
    return replace(split, apps=[replace(app, proved=True) for app in split.apps])


def _hint(split: Split, app: OutputApp, catalogs: Sequence[str]) -> str:
    """Whom to blame: modules from elsewhere come before us."""
    if not any(split.modules[cid].reused for cid in split.closure(app)):
        return "this is a fault in bacpack: please report it with the programs"
    named = " or ".join(f"`{name}`" for name in catalogs)
    return (
        f"it uses modules of {named}, and one of them may not do what it seems to: split without that catalog; "
        "if bacpack wrote it, please report this with the programs"
    )
