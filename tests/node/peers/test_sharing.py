"""Jobs whose modules others have: each fetched once, from whom is told, and kept."""

from __future__ import annotations

from pathlib import Path

from content.harness import Bacpack
from node.jobs import programs
from node.jobs.harness import JobNode
from node.peers.harness import large_module, peers, release, sources
from node.peers.relay import Relay


def test_a_job_runs_where_only_a_peer_has_its_modules_and_again_when_that_is_gone(tmp_path: Path) -> None:
    with JobNode(tmp_path / "b") as first:
        # Only to make the store and the token.
        assert peers(first) == {}
    with JobNode(tmp_path / "a") as a, JobNode(tmp_path / "b", "--peer", a.url) as b:
        root, modules = release(a, 4)
        ref = f"{root}/app.wasm"
        job = b.run(ref)
        assert (job["state"], job["exit_code"]) == ("done", 4), job
        report = job["report"]["modules"]
        assert [module["cid"] for module in report[:-1]] == modules
        assert all((module["source"], module["fetched_from"]) == ("peer", a.url) for module in report)
        assert all(module["also_from"] == [] and module["verified"] for module in report)
        held = {module["cid"]: module for module in b.get("/api/v1/modules").json["modules"]}
        assert set(modules) <= set(held)
        for cid in modules:
            assert (held[cid]["origin"], held[cid]["obtained_from"]) == ("peer", a.url)
        a.stop()
        again = b.run(ref)
        assert (again["exit_code"], sources(again)) == (4, {("store", str(b.store))})
    with JobNode(tmp_path / "b") as b:
        offline = b.run(ref)
        assert (offline["exit_code"], sources(offline)) == (4, {("store", str(b.store))})
        # And passes it on.
        with JobNode(tmp_path / "c", "--peer", b.url) as c:
            assert sources(c.run(ref)) == {("peer", b.url)}


def test_a_block_is_fetched_once_however_many_jobs_wait(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as a, Relay(a.url, delay=0.3) as relay:
        with JobNode(tmp_path / "b", "--peer", relay.url) as b:
            library = a.add(programs.library(1))
            # As many as are prepared at a time, and all want the library at the same moment.
            refs = [b.add(programs.user_of(*[library] * count)) for count in range(1, 9)]
            jobs = [b.ended(job) for job in [b.submit(ref) for ref in refs]]
        assert [job["exit_code"] for job in jobs] == list(range(1, 9))
        assert dict(relay.asked) == {library: 1}
        # Each says whence, also those that waited for what another had asked for.
        for job in jobs:
            module = job["report"]["modules"][0]
            assert module["fetched_from"] == relay.url or module["source"] == "store"
        assert sum(job["report"]["modules"][0]["source"] == "peer" for job in jobs) >= 1


def test_what_a_release_says_is_needed_comes_at_once(tmp_path: Path) -> None:
    height, delay = 20, 0.2
    with JobNode(tmp_path / "a") as a, Relay(a.url, delay=delay) as relay:
        root, modules = release(a, height)
        with JobNode(tmp_path / "b", "--peer", relay.url) as b:
            job = b.run(f"{root}/app.wasm")
        assert job["exit_code"] == height
        assert all(relay.asked[cid] == 1 for cid in modules)
        # One after the other, they would be asked for one at a time.
        assert 6 <= relay.at_once <= 8
        assert job["report"]["load_ms"] < height * delay * 1000


def test_blocks_of_one_module_from_two_peers(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as a, Relay(a.url) as one, Relay(a.url) as other:
        cid, leaves = large_module(a, 4)
        one.lacks, other.lacks = {leaves[0]}, set(leaves[1:]) | {cid}
        with JobNode(tmp_path / "b", "--peer", one.url, "--peer", other.url) as b:
            job = b.run(cid)
            (module,) = job["report"]["modules"]
            assert (module["source"], module["fetched_from"]) == ("peer", one.url)
            assert module["also_from"] == [other.url]
            (held,) = (entry for entry in b.get("/api/v1/modules").json["modules"] if entry["cid"] == cid)
            assert (held["obtained_from"], held["also_from"]) == (one.url, [other.url])


def test_a_module_of_which_some_blocks_are_here(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as a, Relay(a.url) as relay:
        cid, leaves = large_module(a, 4)
        relay.lacks = {leaves[2]}
        with JobNode(tmp_path / "b", "--peer", relay.url) as b:
            assert b.run(cid)["state"] == "failed"
            relay.lacks = set()
            asked = relay.asked.copy()
            job = b.run(cid)
            assert sources(job) == {("peer", relay.url)}
        # What came the first time was not asked for again.
        assert asked[leaves[0]] == relay.asked[leaves[0]] == 1


def test_a_car_from_elsewhere_is_taken_in_while_the_node_runs(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as a:
        root, modules = release(a, 3)
        car = tmp_path / "stick.car"
        car.write_bytes(a.get(f"/ipfs/{root}?format=car").body)
    # No peer, and none that could be asked.
    with JobNode(tmp_path / "b") as b:
        running = b.submit(programs.endless("here"))
        b.until_printed(running, b"here")
        before = b.run(f"{root}/app.wasm")
        assert (before["state"], before["error"]["code"]) == ("failed", "module-not-found")
        assert Bacpack(b.store).ok("fetch", car)["roots"] == [root]
        job = b.run(f"{root}/app.wasm")
        assert (job["exit_code"], sources(job)) == (3, {("store", str(b.store))})
        assert b.get(f"/ipfs/{modules[0]}?format=raw").status == 200
        held = {module["cid"]: module for module in b.get("/api/v1/modules").json["modules"]}
        assert (held[modules[0]]["origin"], held[modules[0]]["pinned"]) == ("car", True)
        assert b.job(running)["state"] == "running"
        b.ask("DELETE", f"/api/v1/jobs/{running}", headers={"Authorization": f"Bearer {b.token}"})
