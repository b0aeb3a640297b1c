"""What is used of the engine beyond its documented interface, and which features of WebAssembly it has on.

A feature that no program uses is code of the engine that a stranger can reach for nothing: the advisories of 2026 are
mostly about the young ones. Whatever a new version of the engine lacks is named by `unknown-engine`.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import wasmtime
from wasmtime import _bindings as calls

from bacpack.advisories import SAFE
from bacpack.content.cid.import_namespace import HOST_MODULES
from bacpack.errors import BacpackError, InputError
from bacpack.installed import line_for_package
from bacpack.wasm.interface import read_interface

#: What a node's jobs do without: no toolchain makes them for WASI unless it is asked to.
RARE = ("gc", "function_references", "threads", "memory64", "wide_arithmetic")
#: For a thread in which a program runs: its own calls, and those of the host beneath.
_THREAD_BYTES = 8 << 20


def engine_config(*, all_features: bool) -> wasmtime.Config:
    """Return a configuration of the engine, to be completed; raises `InputError` (`unknown-engine`)."""
    config = wasmtime.Config()
    config.wasm_exceptions = True
    for name in () if all_features else RARE:
        # A switch that the engine does not have would be set in Python and change nothing.
        if not hasattr(wasmtime.Config, f"wasm_{name}"):
            raise _unknown(f"it has no switch for `{name}`")
        setattr(config, f"wasm_{name}", False)
    return config


def needs_all_features(module: bytes) -> bool:
    """Whether a module that is refused without the rare features is valid with them."""
    try:
        wasmtime.Module.validate(wasmtime.Engine(engine_config(all_features=True)), module)
    except wasmtime.WasmtimeError:
        return False
    return True


def feature_off(name: str) -> InputError:
    """What to raise for a module that needs one of them."""
    return InputError(
        "feature-off",
        f"`{name}` uses a feature of WebAssembly that this node has off: one of {', '.join(RARE)}",
        hint="run it with `bacpack run`, or start the node with --all-features",
        details={"module": name, "off": list(RARE)},
    )


def at_epochs(store: wasmtime.Store, look: Callable[[], bool], ticks: int) -> object:
    """Have a program call `look` at every so many counts of the epoch, and end when it returns true.

    Returns what must not be collected before the store; raises `InputError` (`unknown-engine`).
    """
    try:
        callback, finalizer = (calls._wasmtime_store_epoch_deadline_callback.argtypes[at] for at in (1, 3))
    except (AttributeError, IndexError) as error:
        raise _unknown("it has no call for programs that must end") from error

    @callback  # type: ignore[untyped-decorator]  # made by ctypes
    def called(_context: object, _data: object, delta: Any, _kind: Any) -> int:
        if look():
            return ctypes.cast(calls.wasmtime_error_new(b"it must end"), ctypes.c_void_p).value or 0
        delta[0] = ticks
        return 0

    none = ctypes.cast(0, finalizer)  # type: ignore[type-var]  # made by ctypes
    calls.wasmtime_store_epoch_deadline_callback(store.ptr(), called, None, none)
    return called


def is_linked(program: bytes) -> bool:
    """Whether a program imports from other modules than the host's; what is no module at all does not."""
    try:
        return any(name not in HOST_MODULES for name in read_interface(program).namespaces)
    except BacpackError:
        return False


def start_thread(target: Callable[..., object], *arguments: object) -> None:
    """Start a thread that a program may run in: one of the system's own size may be too small for it."""
    before = threading.stack_size(_THREAD_BYTES)
    try:
        threading.Thread(target=target, args=arguments, name="program", daemon=True).start()
    finally:
        threading.stack_size(before)


def _unknown(why: str) -> InputError:
    found = version("wasmtime")
    return InputError(
        "unknown-engine",
        f"this bacpack cannot use wasmtime {found}: {why}",
        hint=f"take an older one: {line_for_package(f'{SAFE},<{found}')}",
        details={"wasmtime": found},
    )
