"""A CID in any base, and every form of its path: at a node as at the command line, and in the imports of a module."""

from __future__ import annotations

from pathlib import Path

import pytest
from multiformats import multibase

from bacpack.content.cid.cid import Cid
from inprocess import call
from node.harness import assemble, write_release
from node.jobs.harness import JobNode

#: Counts how often it is asked: one instance gives 1 and 2, two give 1 and 1.
COUNTER = assemble("""(module (global $n (mut i32) (i32.const 0)) (func (export "next") (result i32)
  (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))""")
CID = Cid.of_raw(COUNTER)


def forms(cid: Cid) -> list[str]:
    bases = ("base36", "base36upper", "base16", "base16upper", "base32upper", "base58btc", "base64url")
    return [str(cid), *(multibase.encode(bytes(cid), base) for base in bases)]


def program(first: str, second: str) -> bytes:
    """A program that asks by two spellings, and ends with the second answer."""
    return assemble(f"""(module
      (import "{first}" "next" (func $a (result i32))) (import "{second}" "next" (func $b (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (func (export "_start") (drop (call $a)) (call $exit (call $b))))""")


@pytest.mark.parametrize("spelling", [*forms(CID)[1:4], f"/ipfs/{CID}", f"ipfs://{CID}", f"dweb:/ipfs/{CID}"])
def test_two_spellings_of_a_cid_are_one_instance(tmp_path: Path, spelling: str) -> None:
    path = write_release(tmp_path / "out", program(str(CID), spelling), COUNTER)
    done = call(tmp_path / "home", "run", path)
    assert done.status == 2, done.stderr


def test_a_node_takes_every_form(tmp_path: Path) -> None:
    with JobNode(tmp_path / "node") as node:
        app = Cid.parse(node.add(program(str(CID), f"/ipfs/{forms(CID)[1]}")))
        node.add(COUNTER)
        for text in forms(app):
            answer = node.get(f"/ipfs/{text}?format=raw")
            assert (answer.status, Cid.of_raw(answer.body)) == (200, app), text
            assert node.get(f"/routing/v1/providers/{text}").status == 200
        for ref in (*forms(app)[1:3], f"/ipfs/{app}", f"ipfs://ipfs/{app}", f"dweb:/ipfs/{app}"):
            job = node.run(ref)
            assert (job["state"], job["exit_code"]) == ("done", 2), job
        assert node.try_submit("/ipns/example.org").code in ("bad-ref", "bad-job")
