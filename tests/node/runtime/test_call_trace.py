"""A trap says in which module and function it came, also where a program is many modules."""

from __future__ import annotations

import json
from pathlib import Path

from bacnode.runtime.call_trace import Call, Place, locate
from bacpack.content.cid.cid import Cid
from inprocess import call
from node.harness import assemble, write_release
from node.jobs.harness import JobNode
from node.pages.test_pages import page

LIBRARY = assemble("""(module (func $_ZN4core9panicking5panic17h0123456789abcdefE unreachable)
  (func $helper (param i32) (result i32) (i32.const 1))
  (func (export "fail") (drop (call $helper (i32.const 2))) (call 0)))""")
CID = str(Cid.of_raw(LIBRARY))
PROGRAM = assemble(f"""(module (import "{CID}" "fail" (func $fail)) (memory (export "memory") 1)
  (func $main (call $fail)) (func (export "_start") (call $main)))""")
APP = str(Cid.of_raw(PROGRAM))
SEEN = [(CID, "core::panicking::panic::h0123456789abcdef"), (CID, None), (APP, "main"), (APP, None)]


def test_a_report_names_module_and_function_of_each_call(tmp_path: Path) -> None:
    program = write_release(tmp_path / "out", PROGRAM, LIBRARY)
    report = tmp_path / "report.json"
    done = call(tmp_path / "home", "run", "--report", report, program)
    assert done.status == 134 and "--report FILE" in done.stderr.splitlines()[1]
    trap = json.loads(report.read_text())["trap"]
    assert [(entry["module"], entry["name"]) for entry in trap["calls"]] == SEEN
    assert trap["backtrace"][0].startswith(f"{CID}!core::panicking::panic::h0123456789abcdef at 0x")
    assert trap["backtrace"][2].startswith("app.wasm!main at 0x") and "!function 2 at" in trap["backtrace"][3]


def test_a_node_names_them_in_the_report_and_on_the_page(tmp_path: Path) -> None:
    with JobNode(tmp_path / "node") as node:
        node.add(LIBRARY)
        job = node.run(PROGRAM)
        trap = job["report"]["trap"]
        assert [(entry["module"], entry["name"]) for entry in trap["calls"]] == SEEN
        assert "--report" not in job["error"]["hint"] and "report of the job" in job["error"]["hint"]
        shown = page(node, f"/jobs/{job['id']}").body.decode()
        assert f"{CID}!core::panicking::panic::h0123456789abcdef at 0x" in shown


def test_a_call_is_in_no_module_that_has_no_such_function() -> None:
    at = Call(function=1, offset=70, body=60)
    assert locate([at], [Place(CID, "x", LIBRARY), Place(CID, "y", b"no module")]) == [at]
