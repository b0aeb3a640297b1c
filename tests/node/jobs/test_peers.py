"""Jobs whose modules another node has."""

from __future__ import annotations

import time
from pathlib import Path

from bacnode.fetch.source_health import Health
from bacnode.peers.peer_book import PeerBook, PeerOptions
from node.jobs import programs
from node.jobs.harness import JobNode


def test_modules_come_from_a_peer_and_stay(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as near, JobNode(tmp_path / "b", "--peer", near.url) as node:
        library = near.add(programs.library(9))
        program = near.add(programs.user_of(library))
        job = node.run(program)
        assert job["exit_code"] == 9
        modules = job["report"]["modules"]
        assert [module["cid"] for module in modules] == [library, program]
        assert all(module["source"] == "peer" and module["fetched_from"] == near.url for module in modules)
        near.stop()
        again = node.run(program)
        assert again["exit_code"] == 9
        assert all(module["source"] == "store" for module in again["report"]["modules"])
        found = {entry["cid"]: entry for entry in node.get("/api/v1/modules").json["modules"]}
        assert set(found) == {library, program}
        for entry in found.values():
            assert (entry["origin"], entry["obtained_from"], entry["uses"]) == ("peer", near.url, 2)
            assert entry["obtained_at"]
    with JobNode(tmp_path / "b") as alone:
        # Without a plan in memory, and nobody to ask.
        assert alone.run(program)["exit_code"] == 9
        assert alone.get(f"/ipfs/{library}?format=raw").status == 200


def test_a_module_that_many_jobs_wait_for_is_fetched_once(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as near, JobNode(tmp_path / "b", "--peer", near.url) as node:
        library = near.add(programs.library(3))
        jobs = [node.submit(near.add(programs.user_of(*[library] * (count + 1)))) for count in range(6)]
        ended = [node.ended(job) for job in jobs]
        assert [job["exit_code"] for job in ended] == [3 * (count + 1) for count in range(6)]
        for job in ended:
            module = job["report"]["modules"][0]
            assert module["cid"] == library
            assert module["source"] in ("peer", "store")


def test_wrong_bytes_from_a_peer_are_not_used(tmp_path: Path) -> None:
    from node.server import Answer, FileServer

    module = programs.hello()
    with JobNode(tmp_path / "a") as sound:
        cid = sound.add(module)
        with FileServer() as liar:
            liar.answers[f"/ipfs/{cid}?format=raw"] = Answer(programs.hello("other"))
            with JobNode(tmp_path / "b", "--peer", liar.url, "--peer", sound.url) as node:
                job = node.run(cid)
                assert job["report"]["modules"][0]["fetched_from"] == sound.url
            with JobNode(tmp_path / "c", "--peer", liar.url) as node:
                job = node.run(cid)
                assert (job["state"], job["error"]["code"]) == ("failed", "block-mismatch")


def test_who_was_put_aside_is_asked_when_the_other_is_gone(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as back, JobNode(tmp_path / "b") as gone:
        program = back.add(programs.user_of(back.add(programs.library(5))))
        book = PeerBook(tmp_path / "c")
        book.begin(PeerOptions(peers=(back.url, gone.url)))
        book.measured({back.url: Health(failures=3, row=3, asides=1, aside_until=time.time() + 600)})
        gone.stop()
        with JobNode(tmp_path / "c", "--peer", back.url, "--peer", gone.url) as node:
            job = node.run(program)
            assert job["exit_code"] == 5, job["error"]
            assert {module["fetched_from"] for module in job["report"]["modules"]} == {back.url}


def test_bids_say_what_is_missing(tmp_path: Path) -> None:
    with JobNode(tmp_path / "a") as near, JobNode(tmp_path / "b", "--peer", near.url) as node:
        module = programs.library(4)
        library = near.add(module)
        program = programs.user_of(library)
        cid = node.add(program)
        bid = node.post("/api/v1/bids", {"ref": cid}).json
        assert bid["can_run"] and bid["missing"] == [library] and bid["missing_bytes"] == len(module)
        assert bid["uncompiled_bytes"] == len(module) + len(program)
        assert bid["reason"] is None and bid["start_ms"] > 0
        # Nothing was fetched for it.
        assert node.get(f"/ipfs/{library}?format=raw").status == 404
        assert node.run(cid)["exit_code"] == 4
        after = node.post("/api/v1/bids", {"ref": cid}).json
        assert (after["missing"], after["missing_bytes"], after["uncompiled_bytes"]) == ([], 0, 0)
        assert after["score"] > bid["score"] and after["start_ms"] < bid["start_ms"]
        assert node.post("/api/v1/bids", {"modules": [library, cid]}).json["can_run"]


def test_bids_say_why_not(tmp_path: Path) -> None:
    absent = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    with JobNode(tmp_path / "b", "--jobs-memory", "256MiB") as node:
        bid = node.post("/api/v1/bids", {"modules": [absent]}).json
        assert (bid["can_run"], bid["reason"], bid["missing"]) == (False, "module-not-found", [absent])
        assert (bid["missing_bytes"], bid["score"], bid["start_ms"]) == (None, 0.0, None)
        cid = node.add(programs.hello())
        large = node.post("/api/v1/bids", {"ref": cid, "limits": {"memory_bytes": 1 << 32}}).json
        assert (large["can_run"], large["reason"]) == (False, "bad-job")
        broken = node.post("/api/v1/bids", {"ref": node.add(b"no module")}).json
        assert not broken["can_run"] and broken["reason"]
        assert node.post("/api/v1/bids", {}).code == "bad-request"
        assert node.post("/api/v1/bids", {"ref": "./here.wasm"}).code == "bad-request"
