"""`bacpack fetch`: bring a CID and all it links to into the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bacpack.cli.options.source_options import SourceOptions, source_options
from bacpack.cli.options.values import seconds, size
from bacpack.cli.terminal.output import Output, common_options
from bacpack.cli.terminal.streams import joined
from bacpack.content.cid.reference import CidRef, PathRef, UrlRef, parse_ref
from bacpack.errors import UnreachableError
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacnode.fetch.remote_source import RemoteSource
    from bacnode.fetch.session import Web
    from bacpack.content.cid.cid import Cid
    from bacpack.content.store.block_store import BlockStore

EPILOG = """\b
Examples:
  bacpack fetch release.car
  bacpack fetch bafybei… --peer http://node.example:8080
  bacpack fetch bafybei…/app.wasm --gateway https://gateway.example --timeout 600
  bacpack fetch https://example.org/release.car

\b
What the store lacks is asked of the peers, the gateways and the Kubo, in this order or in that of
bacpack.toml: as one CAR stream where the source speaks that, as blocks otherwise. Each block is
checked and stored as it comes, so that a fetch that was interrupted goes on where it stopped.
A CAR file is checked whole before its first block is stored; blocks that the store holds already
may be left out of it.

\b
Exit status:
  0  everything is in the store
  1  a block of a CAR file does not match its CID
  2  wrong usage or input
  3  blocks are missing: the message names them, who was asked, and what each answered
"""


@click.command(epilog=EPILOG)
@click.argument("ref")
@click.option("--no-pin", is_flag=True, help="Leave it to the next `bacpack gc` to free.")
@click.option("--timeout", metavar="S", callback=seconds, help="Ask nobody any more after S seconds.")
@click.option("--max-bytes", metavar="BYTES", callback=size, default="64GiB", show_default=True,
              help="Take no more new blocks than this; also 500MiB and the like.")  # fmt: skip
@source_options
@common_options
def command(
    output: Output, *, ref: str, no_pin: bool, timeout: float | None, max_bytes: int, sources: SourceOptions
) -> None:
    """Bring a CID and all it links to into the store, and pin it.

    REF is a CID, CID/path, ipfs://…, a CAR file, or the http(s) URL of one.
    """
    from bacpack.text import count_of

    wanted = parse_ref(ref)
    if isinstance(wanted, PathRef):
        result = _fetch_car(output, wanted.path, pin=not no_pin)
    else:
        result = _fetch(output, wanted, sources.web(timeout), max_bytes, pin=not no_pin)
    kept = "pinned" if result["pinned"] else "not pinned: the next `bacpack gc` frees it"
    summary = (
        f"{count_of(result['blocks'], 'block')}, {human_bytes(result['bytes'])}, {human_bytes(result['new_bytes'])} new"
    )
    came = [f"{count_of(entry['blocks'], 'block')} from {entry['url']}" for entry in result.get("sources", ())]
    output.result({"ref": ref, **result}, joined([*result["roots"], f"{summary}; {kept}", *came]))


def _fetch_car(output: Output, path: Path, *, pin: bool) -> dict[str, Any]:
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.car_import import import_car, inspect_car, named_files, require_roots
    from bacpack.content.store.collection import incomplete
    from bacpack.content.store.origins import Provenance
    from bacpack.content.store.pins import Pins
    from bacpack.folders import data_folder

    store = BlockStore(data_folder())
    with output.progress(f"checking {path}") as show:
        contents = inspect_car(path, store=store, on_progress=lambda done: show(human_bytes(done)))
    require_roots(contents, path)
    if contents.missing:
        raise incomplete(f"`{path}`", list(contents.missing), UnreachableError)

    def finish() -> None:
        Provenance(store.folder).record(named_files(store, contents.roots), f"car:{path}")
        if pin:
            pins = Pins(store.folder)
            for root in contents.roots:
                pins.add(root, path.name.removesuffix(".car"))

    with output.progress("storing") as show:
        new_bytes = import_car(path, store, finish)
    return {
        "roots": [str(root) for root in contents.roots],
        "blocks": contents.blocks,
        "bytes": contents.bytes,
        "new_bytes": new_bytes,
        "pinned": pin,
    }


def _fetch(output: Output, wanted: CidRef | UrlRef, web: Web, max_bytes: int, *, pin: bool) -> dict[str, Any]:
    from bacnode.fetch.download import Download, DownloadLimits
    from bacnode.fetch.remote_source import CarUrl
    from bacnode.fetch.sources import url_name
    from bacpack.content.store.block_store import BlockStore
    from bacpack.content.store.pins import Pins
    from bacpack.folders import data_folder

    store = BlockStore(data_folder())

    # The batch keeps garbage collection off until all is pinned.
    with (
        store.batch(lambda: output.note("waiting for garbage collection to end")) as batch,
        output.progress("fetching") as show,
    ):
        web.http.on_wait = show.waiting
        download = Download(store, batch, web.remotes, DownloadLimits(total_bytes=max_bytes), show.add)
        try:
            if isinstance(wanted, UrlRef):
                roots = download.take(CarUrl(wanted.url, web.http))
            else:
                roots = [download.resolve(wanted.cid, wanted.path)]
            download.fetch(roots)
        except BaseException:
            web.http.stop()
            raise
        finally:
            download.close()
        batch.flush()
        _record(store, roots, download.done.origins)
        for root in roots if pin else ():
            Pins(store.folder).add(
                root, url_name(wanted.url).removesuffix(".car") if isinstance(wanted, UrlRef) else ""
            )
    done = download.done
    counts = Counter(done.origins.values())
    return {
        "roots": [str(root) for root in roots],
        "blocks": done.blocks,
        "bytes": done.bytes,
        "new_bytes": done.new_bytes,
        "pinned": pin,
        "sources": [{"source": one.kind, "url": one.origin, "blocks": count} for one, count in counts.items()],
    }


def _record(store: BlockStore, roots: Sequence[Cid], origins: Mapping[Cid, RemoteSource]) -> None:
    """Note where each file that is new came from."""
    from bacpack.content.store.car_import import named_files
    from bacpack.content.store.origins import Provenance

    by_origin: dict[str, list[tuple[Cid, str]]] = {}
    for cid, path in named_files(store, roots):
        remote = origins.get(cid.to_v1())
        if remote is not None:
            by_origin.setdefault(remote.origin, []).append((cid, path))
    for origin, named in by_origin.items():
        Provenance(store.folder).record(named, origin)
