"""A job whose calls go deep: where a blob runs on a node, its split runs too."""

from __future__ import annotations

from bacpack.split.input.blob import Input
from bacpack.split.pipeline.steps import split
from node.jobs.harness import JobNode
from node.runtime.test_deep_calls import recursive


def runs(node: JobNode, program: str, depth: int) -> bool:
    job = node.run(program, invoke="deep", args=[str(depth)])
    assert job["state"] == "done" or "call stack exhausted" in job["error"]["message"]
    return bool(job["state"] == "done")


def test_a_job_of_a_split_goes_as_deep_as_that_of_its_blob(node: JobNode) -> None:
    blobs = recursive()
    made = split([Input(name, data, name) for name, data in zip("ab", blobs, strict=True)])
    for module in made.modules.values():
        node.add(module.data)
    whole, again = node.add(blobs[0]), node.add(made.apps[0].data)
    depth, traps = 0, 1 << 14
    while traps - depth > 1:
        middle = (depth + traps) // 2
        depth, traps = (middle, traps) if runs(node, whole, middle) else (depth, middle)
    assert depth > 500
    assert runs(node, again, depth)
    assert not runs(node, again, 10_000_000)
