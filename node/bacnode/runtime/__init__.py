"""From a graph to a run in wasmtime: plans, limits, WASI, traps, reports."""
