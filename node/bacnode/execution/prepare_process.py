"""The process that fetches, links and compiles what jobs need, and says how each is run.

What strangers wrote is parsed and compiled here, so it is this process that may run out of memory or time over it, and
the node that starts another.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import msgspec

from bacnode.execution.channel import Parent
from bacnode.execution.grants import ALL_FEATURES
from bacnode.execution.job import JobSources
from bacnode.execution.job_folder import JobFolder
from bacnode.execution.messages import Bid, Locate, Located, MissingModules, Prepare, Prepared, Ready
from bacnode.execution.shortest_first import ShortestFirst
from bacnode.fetch.limits import LoadLimits
from bacnode.fetch.session import Web
from bacnode.fetch.source import BlockSource, Source
from bacnode.fetch.sources import Sources
from bacnode.fetch.stored_sources import StoredSource
from bacnode.peers.block_exchange import BlockExchange
from bacnode.peers.job_source import Holders, JobWeb
from bacnode.programs.open_program import Program, open_program
from bacnode.programs.release_prefetch import announce_closure
from bacnode.programs.resolver import resolve
from bacnode.runtime.call_trace import located
from bacnode.runtime.code_cache import CompileCache, Configuration
from bacnode.runtime.plan import Plan, places_in
from bacnode.runtime.planner import Planner
from bacnode.sandbox.process_limits import confine
from bacnode.stores.layered_store import LayeredStore
from bacnode.stores.proprietary import Proprietary, PublicStore
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, UrlRef, parse_ref
from bacpack.errors import BacpackError, CheckFailedError, InputError, Problem
from bacpack.files import explain_not_utf8, write_durably
from bacpack.single_flight import OneAtATime

#: What may be prepared at once; each is mostly waiting for peers, or for its turn.
THREADS = 64
#: Jobs of Dask that fetch at once, those first that lack least: each is ready sooner if it need not share the network
#: with all others, and one whose source is silent must not hold up the rest.
MOST_FETCHING = 3
#: Seconds in which all that a job needs must have come.
FETCH_SECONDS = 600
LIMITS = LoadLimits(module_bytes=64 << 20, total_bytes=256 << 20)
#: The largest file that a job is given by CID.
MAX_INPUT_BYTES = 256 << 20

T = TypeVar("T")


class Preparer:
    """Makes plans for a node."""

    def __init__(self, parent: Parent, folder: Path, cache: Path, *, all_features: bool) -> None:
        proprietary = Proprietary(folder)
        self._parent = parent
        self._public = PublicStore(folder, proprietary)
        self._store = LayeredStore(self._public, proprietary.store)
        self._private = proprietary.store
        self._exchange = BlockExchange(folder, self._public)
        self._fetching = OneAtATime()
        self._shortest_first = ShortestFirst(MOST_FETCHING)
        self._cache = CompileCache(cache)
        self._configuration = Configuration(interruptible=True, fueled=False, all_features=all_features)
        self._planner = Planner(self._cache, all_features=all_features)

    def serve(self) -> None:
        """Answer the node until it closes the pipe."""
        self._parent.send(Ready())
        with ThreadPoolExecutor(THREADS, "prepare") as pool:
            for message in self._parent.read():
                if isinstance(message, Prepare):
                    pool.submit(self._answer_prepare, message)
                elif isinstance(message, Bid):
                    pool.submit(self._answer_bid, message)
                elif isinstance(message, Locate):
                    pool.submit(self._answer_locate, message)
            # The node is gone: nobody waits for what is under way.
            os._exit(0)

    def _answer_prepare(self, message: Prepare) -> None:
        started = time.perf_counter()
        plan, error, status = _caught(lambda: self._prepare(message))
        took = (time.perf_counter() - started) * 1000
        self._parent.send(Prepared(job=message.job, plan=plan, error=error, load_ms=took, exit_status=status))

    def _answer_bid(self, message: Bid) -> None:
        answer, error, _ = _caught(lambda: self._missing_modules(message))
        self._parent.send(
            answer
            or MissingModules(
                job=message.job, missing=[], missing_bytes=None, unobtainable=[], uncompiled_bytes=0, error=error
            )
        )

    def _answer_locate(self, message: Locate) -> None:
        found, _, _ = _caught(lambda: located(message.trap, places_in(self._store, message.modules)))
        self._parent.send(Located(job=message.job, trap=found or message.trap))

    def _prepare(self, message: Prepare) -> Plan | None:
        if message.sources is not None:
            return self._plan_from(message, message.sources)
        web = JobWeb(self._exchange, self._public, time.monotonic() + FETCH_SECONDS)
        try:
            self._bring_files(message, JobFolder(Path(message.folder)), web)
            return None if message.only_files else self._plan(message, web)
        except BacpackError as error:
            raise self._where_it_runs(error, web) from error
        finally:
            if web.nearby is not None:
                web.nearby.finish()
            web.http.close()

    def _plan(self, message: Prepare, web: JobWeb) -> Plan:
        program = self._open(message.ref, web)
        if web.nearby is not None:
            announce_closure(program, self._store)
        graph = resolve(program.root, program.sources.fetch, LIMITS, program.sources.announce)
        return self._planner.plan(message.ref, graph, message.invoke, fueled=message.fueled)

    def _plan_from(self, message: Prepare, sources: JobSources) -> Plan:
        """Make a plan of modules from those who hold them, in the order in which jobs lack least; keep what came."""
        web = Web(sources.peers, offline=sources.offline, allow_private=sources.allow_private)
        remotes: list[Source] = [*web.remotes]
        if sources.holders and not sources.offline:
            remotes.insert(0, Holders(sources.holders, web.http))
        web.sources = [StoredSource(remote, self._public, self._fetching) for remote in remotes]
        missing = {cid: size for cid, size in sources.sizes.items() if not self._store.has(Cid.parse(cid))}

        def missing_bytes() -> int:
            """Bytes that are still missing: other jobs bring some of them."""
            for cid in [cid for cid in missing if self._store.has(Cid.parse(cid))]:
                del missing[cid]
            return sum(missing.values())

        limits = LoadLimits()
        try:
            with self._shortest_first.turn(missing_bytes) if missing else nullcontext():
                program = open_program(message.ref, self._store, web, limits)
                program.sources.announce([CidRef(Cid.parse(cid)) for cid in missing])
                graph = resolve(program.root, program.sources.fetch, limits, program.sources.announce)
        finally:
            web.http.close()
        return self._planner.plan(message.ref, graph, message.invoke, fueled=message.fueled)

    def _open(self, ref: str, web: JobWeb) -> Program:
        if isinstance(parse_ref(ref), CidRef | UrlRef):
            return open_program(ref, self._store, web, LIMITS)
        raise InputError("bad-job", f"`{ref}` names a file of this machine", hint="name the program by CID or URL")

    def _bring_files(self, message: Prepare, folder: JobFolder, web: JobWeb) -> None:
        # From what the node serves: a job is given no block of a proprietary module to look at.
        local = BlockSource("store", str(self._public.folder), "the store", self._public.get)
        sources = Sources([local, *web.sources], web.get)
        wanted = [(file.cid, folder.input(file.path)) for file in message.files if file.cid is not None]
        if message.stdin is not None and message.stdin.cid is not None:
            wanted.append((message.stdin.cid, folder.stdin))
        for cid, path in wanted:
            if self._private.has(Cid.parse(cid)):
                raise CheckFailedError(
                    "proprietary-module",
                    f"{cid} may be run here and not be read",
                    hint="import it from the program",
                    details={"cid": cid},
                )
            if path == folder.stdin or not path.exists():
                write_durably(path, sources.fetch(CidRef(Cid.parse(cid)), MAX_INPUT_BYTES).data)

    def _where_it_runs(self, error: BacpackError, web: JobWeb) -> BacpackError:
        """Return an error that names the node that may use a module which nobody gives, if a peer says so."""
        cid = error.details.get("cid")
        if error.code != "module-not-found" or not isinstance(cid, str):
            return error
        found = self._exchange.runner(Cid.parse(cid), web.deadline)
        if found is None:
            return error
        url, peer_id = found
        return CheckFailedError(
            "proprietary-module",
            f"{cid} is not given away: the node {peer_id} runs jobs that need it",
            hint=f"submit the job to {url}",
            details={"cid": cid, "node": peer_id, "url": url},
        )

    def _missing_modules(self, message: Bid) -> MissingModules:
        # Asked for nothing but sizes: what a bid names is not fetched.
        web = JobWeb(self._exchange, self._public, time.monotonic() + 10)
        web.sources = []
        try:
            missing, local = self._missing(message, web)
            sizes = {cid: self._exchange.size(Cid.parse(cid), web.deadline) for cid in missing}
        finally:
            web.http.close()
        known = [size for size in sizes.values() if size is not None]
        uncompiled = sum(size for cid, size in local.items() if not self._cache.has(cid, self._configuration))
        return MissingModules(
            job=message.job,
            missing=missing,
            missing_bytes=sum(known) if len(known) == len(missing) else None,
            unobtainable=[cid for cid, size in sizes.items() if size is None],
            uncompiled_bytes=uncompiled + sum(known),
            error=None,
        )

    def _missing(self, message: Bid, web: JobWeb) -> tuple[list[str], dict[str, int]]:
        """Return the CIDs of modules that are not here, and the sizes of those that are."""
        missing: dict[str, None] = {}
        local: dict[str, int] = {}
        for ref in [*([message.ref] if message.ref is not None else []), *message.modules]:
            try:
                program = self._open(ref, web)
            except BacpackError as error:
                if error.code != "module-not-found":
                    raise
                missing[str(Cid.parse(error.details["cid"]).to_v1())] = None
                continue
            graph = resolve(program.root, program.sources.fetch, LIMITS)
            for found in graph.problems:
                if found.code != "module-not-found":
                    raise found
                missing[str(Cid.parse(found.details["cid"]).to_v1())] = None
            local |= {node.fetched.identity: len(node.fetched.data) for node in graph.nodes}
        return list(missing), local


def _caught(work: Callable[[], T]) -> tuple[T | None, Problem | None, int | None]:
    """Return what `work` returns, or what is wrong, with the status that a command ends with then."""
    try:
        try:
            found = work()
            msgspec.msgpack.encode(found)
        except BacpackError as error:
            msgspec.msgpack.encode(error.problem())
            raise
    except UnicodeEncodeError as error:
        # It names a path that cannot be sent.
        told = explain_not_utf8(error)
        return None, told.problem(), told.exit_status
    except BacpackError as error:
        return None, error.problem(), error.exit_status
    except RecursionError:
        return None, Problem("too-deep", "it is nested too deeply"), None
    except Exception as error:
        # A fault of ours must not leave the node waiting.
        return None, Problem.fault("preparing-failed", error), None
    return found, None, None


def main() -> None:
    """Run as `python -m bacnode.execution.prepare_process NODE_PID STORE CACHE [--all-features]`."""
    parent = Parent()
    node, store, cache, *options = sys.argv[1:]
    confine(file_bytes=None, node=int(node))
    Preparer(parent, Path(store), Path(cache), all_features=ALL_FEATURES in options).serve()


if __name__ == "__main__":
    main()
