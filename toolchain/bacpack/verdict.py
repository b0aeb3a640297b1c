"""What `wasm-tools` says of a module: an independent judge of whether it is valid, and of what it uses.

That is the same wherever a module is looked at: a command that calls one malformed which another takes would be wrong.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from typing import Any

from bacpack.errors import BacpackError, InputError
from bacpack.wasm_tools import wasm_tools

#: Of what is valid by default, and what browsers have run for years, nothing is refused as invalid.
_FEATURES = "legacy-exceptions"

#: How a program is built without a feature, by what an engine says that lacks it.
_WITHOUT = {
    "legacy_exceptions": "build it with final exceptions: clang -mllvm -wasm-use-legacy-eh=false, "
    "or emcc -sWASM_LEGACY_EXCEPTIONS=0",
}


def why_invalid(module: bytes, features: str = _FEATURES) -> str:
    """Return why a module is not valid, empty if it is; raises `BacpackError` (`no-wasm-tools`, `out-of-memory`)."""
    command = [wasm_tools().path, "validate", f"--features={features}", "-"]
    done = subprocess.run(command, input=module, capture_output=True, check=False)
    if done.returncode == -signal.SIGKILL:
        reason = "`wasm-tools` was killed, as the system does when there is not enough memory"
        raise BacpackError("out-of-memory", reason, hint="split fewer programs at a time")
    lines = done.stderr.decode(errors="replace").split("\n") if done.returncode else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given") if lines else ""


def told_apart(error: InputError, module: bytes | None) -> InputError:
    """What to raise for `error`: another one when the module is not malformed but uses a feature that bacpack lacks.

    Only the reader of a new feature can tell, so `wasm-tools` is asked with all its features on.
    """
    if error.code not in ("wasm-malformed", "invalid-blob") or module is None or why_invalid(module, "all"):
        return error
    return _unsupported(f"{error.message}: it uses a feature beyond WebAssembly 3.0", error.details)


def not_compiled(name: str, module: bytes, reason: str) -> InputError:
    """What to raise for a module that an engine does not take: it is invalid, or the engine lacks what it uses."""
    details = {"module": name}
    if why_invalid(module, "all"):
        hint = "`wasm-tools validate` says more about a broken module"
        return InputError("invalid-module", f"`{name}` is no valid module: {reason}", hint=hint, details=details)
    return _unsupported(f"`{name}` uses a feature that the engine does not have: {reason}", details)


def _unsupported(message: str, details: Mapping[str, Any]) -> InputError:
    otherwise = "build it without that feature; `wasm-tools validate --features=wasm3` names it"
    hint = next((hint for feature, hint in _WITHOUT.items() if feature in message), otherwise)
    return InputError("wasm-unsupported", message, hint=hint, details=details)
