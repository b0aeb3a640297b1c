"""`bacpack verify`: check a file, a folder or the store against its CIDs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from bacpack.cli.terminal.output import Output, common_options
from bacpack.cli.terminal.streams import printable
from bacpack.content.cid.cid import BadCidError, Cid, is_cid
from bacpack.content.cid.reference import CidRef, PathRef, parse_ref
from bacpack.errors import CheckFailedError, InputError, UnreachableError
from bacpack.text import human_bytes, shell_word

EPILOG = """\b
Examples:
  bacpack verify app.wasm bafkrei…       the file has this CID
  bacpack verify modules/bafkrei….wasm   the file has the CID that it is named by
  bacpack verify out                     the folder is what its manifest says
  bacpack verify out bafybei…            and publishing it gives this root
  bacpack verify out --key alice.pem     and the owner of this key has signed it
  bacpack verify out --against a.wasm b.wasm
                                         and it behaves as these programs, which it was split from
  bacpack verify target/bacpack --against target/wasm32-wasip1/release/*.wasm
                                         the same of a project, by the names in its bacpack.lock
  bacpack verify release.car             every block, and nothing is missing
  bacpack verify bafybei…                the same of a CID in the store

\b
CIDs of files above 1 MiB are computed by the profile unixfs-v1-2025.

\b
Exit status:
  0  it holds
  1  it does not hold; the message says what was expected and what was found
  2  wrong usage, or the input cannot be read
  3  the CID is not in the store
"""


@click.command(epilog=EPILOG)
@click.argument("ref", metavar="REF|DIR|FILE")
@click.argument("more", metavar="[CID]", nargs=-1)
@click.option(
    "--against",
    metavar="BLOB...",
    multiple=True,
    help="Prove that the programs in DIR behave as the blobs they were split from.",
)
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path),
              help="Check that the owner of this public ed25519 key, a PEM file, has signed DIR.")  # fmt: skip
@common_options
def command(output: Output, *, ref: str, more: tuple[str, ...], against: tuple[str, ...], key: Path | None) -> None:
    """Check a file, a folder, a CAR file or the store against its CIDs."""
    from bacpack.text import count_of

    wanted = parse_ref(ref)
    # What follows the first blob are more of them, but for a CID.
    expected = more[0] if more and (not against or is_cid(more[0])) else None
    blobs = [*against, *more[expected is not None :]]
    if blobs and not against:
        raise click.UsageError(f"Got unexpected extra arguments ({' '.join(blobs)})")
    if blobs and not (isinstance(wanted, PathRef) and wanted.path.is_dir()):
        raise click.UsageError(f"--against takes a folder that `bacpack split` wrote, and `{ref}` is none")
    if key and not (isinstance(wanted, PathRef) and wanted.path.is_dir()):
        raise click.UsageError(f"--key takes a folder that `bacpack split` wrote, and `{ref}` is none")
    cid = Cid.parse(expected) if expected else None
    if isinstance(wanted, CidRef):
        result = _verify_stored(output, wanted, cid)
    elif not isinstance(wanted, PathRef):
        raise UnreachableError(
            "not-supported",
            f"`{ref}` cannot be verified: it is not on this machine",
            hint="download it and verify the file",
            details={"ref": ref},
        )
    elif wanted.path.is_dir():
        result = _verify_folder(output, wanted.path, cid, key)
    elif wanted.path.suffix == ".car":
        result = _verify_car(output, wanted.path, cid)
    else:
        result = _verify_file(wanted.path, cid)
    facts = [str(result["cid"]), human_bytes(result["bytes"])]
    if "blocks" in result:
        facts.append(count_of(result["blocks"], "block"))
    if blobs and isinstance(wanted, PathRef):
        linked = _linked(wanted.path)
        result["verified"] = _prove(output, wanted.path, [Path(blob) for blob in blobs], linked)
        facts.append(f"equal to their blobs: {', '.join(result['verified'])}")
        if linked:
            result["linked"] = linked
            facts.append(f"where {', '.join(f'{name} is {module}' for name, module in linked.items())}")
    if "signed_by" in result:
        facts.append(f"signed by {result['signed_by']}")
    output.result({"ref": ref, "ok": True, **result}, printable(f"ok: {', '.join(facts)}"))


def _verify_file(path: Path, expected: Cid | None) -> dict[str, Any]:
    from bacpack.content.cid.cid import RAW
    from bacpack.content.store.file_dag import FileDag
    from bacpack.files import read_file

    if expected is None:
        try:
            expected = Cid.parse(path.stem)
        except BadCidError:
            raise InputError(
                "nothing-to-verify",
                f"there is no CID to verify `{path}` against",
                hint=f"bacpack verify {shell_word(path)} CID",
                details={"path": str(path)},
            ) from None
    built = FileDag().add_file(path)
    if built.cid != expected.to_v1():
        # A raw CID is the hash of the whole file, whatever its size or hash function.
        if expected.codec != RAW:
            _mismatch(str(path), expected, built.cid, built.size)
        data = read_file(path)
        if not expected.matches(data):
            _mismatch(str(path), expected, expected.of_same_kind(data), built.size)
    return {"cid": str(expected), "bytes": built.size}


def _verify_folder(output: Output, folder: Path, expected: Cid | None, key: Path | None) -> dict[str, Any]:
    from bacpack.attest.check import check_statement
    from bacpack.attest.dsse import key_id, load_public_key
    from bacpack.content.store.block_store import BlockStore
    from bacpack.folders import data_folder
    from bacpack.manifest import MANIFEST_NAME, load_manifest
    from bacpack.publish.release.release import plan_release

    if expected is None and not (folder / MANIFEST_NAME).is_file():
        raise InputError(
            "nothing-to-verify",
            f"`{folder}` has no {MANIFEST_NAME}, and no CID is given",
            hint=f"bacpack verify {shell_word(folder)} CID",
            details={"path": str(folder)},
        )
    public = load_public_key(key) if key else None
    with output.progress(f"checking {folder}") as show:
        release = plan_release([folder], BlockStore(data_folder()), show.add)
        manifest = load_manifest(folder) if key or (folder / MANIFEST_NAME).is_file() else None
        if manifest:
            check_statement(folder, manifest, public)
    sizes = release.sizes.values()
    if expected is not None and expected.to_v1() != release.root:
        _mismatch(str(folder), expected, release.root, sum(sizes))
    signed = {"signed_by": key_id(public)} if public else {}
    return {"cid": str(release.root), "bytes": sum(sizes), "blocks": len(sizes), "files": len(release.files), **signed}


def _linked(folder: Path) -> dict[str, str] | None:
    """What names in imports stand for, for a folder of a project: `bacpack build` links what it writes."""
    from bacpack.project.settings.config import find_config
    from bacpack.project.settings.lock_file import LOCK_NAME, UrlLock

    # Not in the folder itself: a release could have any module stand for what its programs import.
    config = find_config(folder.resolve().parent)
    if config is None:
        return None
    return {name: module.cid for name, module in UrlLock(config.with_name(LOCK_NAME)).modules().items()}


def _prove(output: Output, folder: Path, blobs: list[Path], linked: dict[str, str] | None) -> list[str]:
    from bacpack.proof.equivalence.release_folder import prove_folder
    from bacpack.verdict import why_invalid

    with output.progress(f"proving {folder}") as show:
        return prove_folder(folder, blobs, show, linked, why_invalid)


def _verify_car(output: Output, path: Path, expected: Cid | None) -> dict[str, Any]:
    from bacpack.content.car import CarError
    from bacpack.content.store.car_import import file_size, inspect_car, require_roots
    from bacpack.content.store.collection import incomplete

    try:
        with output.progress(f"checking {path}", file_size(path)) as show:
            contents = inspect_car(path, on_progress=show)
    except CarError as error:
        # What cannot be used elsewhere is here the answer to the question: it does not hold.
        raise CheckFailedError(error.code, error.message, hint=error.hint, details=error.details) from error
    require_roots(contents, path)
    roots = [str(root) for root in contents.roots]
    if expected is not None and expected.to_v1() not in {root.to_v1() for root in contents.roots}:
        raise CheckFailedError(
            "cid-mismatch",
            f"the root of `{path}` is not {expected}: it is {', '.join(roots[:5])}",
            hint="is it another version of the content?",
            details={"expected": str(expected), "got": roots},
        )
    if contents.missing:
        raise incomplete(f"`{path}`", list(contents.missing), CheckFailedError)
    return {"cid": roots[0], "roots": roots, "bytes": contents.bytes, "blocks": contents.blocks,
            "version": contents.version}  # fmt: skip


def _verify_stored(output: Output, wanted: CidRef, expected: Cid | None) -> dict[str, Any]:
    from bacpack.content.cid.block import MissingBlockError
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.collection import check_complete, incomplete
    from bacpack.content.unixfs.reader import resolve
    from bacpack.folders import data_folder

    store = BlockStore(data_folder())
    if not store.has(wanted.cid):
        # Nothing can be said of what is not here, which is another answer than that it does not hold.
        raise MissingBlockError(wanted.cid, reason=f"{wanted.cid} is not in the store")
    try:
        cid = resolve(store.get, wanted.cid, wanted.path)
    except MissingBlockError as error:
        raise incomplete(str(wanted), [error], CheckFailedError) from error
    with output.progress(f"checking {cid}") as show:
        found = check_complete(store, cid, show.add)
    if expected is not None and expected.to_v1() != cid.to_v1():
        _mismatch(str(wanted), expected, cid, found.bytes)
    return {"cid": str(cid), "bytes": found.bytes, "blocks": found.blocks}


def _mismatch(what: str, expected: Cid, got: Cid, size: int) -> NoReturn:
    raise CheckFailedError(
        "cid-mismatch",
        f"`{what}` is not {expected}: its {size} bytes have the CID {got}",
        hint="it was changed, or its CID was made with other settings than the profile unixfs-v1-2025",
        details={"path": what, "expected": str(expected), "got": str(got), "bytes": size},
    )
