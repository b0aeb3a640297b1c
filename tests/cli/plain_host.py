"""Runs a module under wasmtime alone, with the exit codes of its command: what `bacpack run` is compared with.

Called as `plain_host.py [--dir HOST::GUEST]... [--env K=V]... FILE ARGS...`.
"""

import argparse
import sys
from pathlib import Path

import wasmtime


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("file", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    config = wasmtime.WasiConfig()
    config.argv = [options.file.name, *options.arguments]
    config.env = [tuple(pair.split("=", 1)) for pair in options.env]
    config.inherit_stdin()
    config.inherit_stdout()
    config.inherit_stderr()
    for folder in options.dir:
        host, _, guest = folder.partition("::")
        config.preopen_dir(host, guest or host)
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    try:
        instance = linker.instantiate(store, wasmtime.Module.from_file(engine, options.file))
        start = instance.exports(store)["_start"]
        assert isinstance(start, wasmtime.Func)
        start(store)
    except wasmtime.ExitTrap as exited:
        return exited.code
    except wasmtime.Trap:
        return 134
    return 0


if __name__ == "__main__":
    sys.exit(main())
