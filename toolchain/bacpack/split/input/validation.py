"""Every blob and every output is valid by `wasm-tools validate`: an independent judge of what bacpack writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from bacpack.errors import BacpackError, InputError
from bacpack.parallel import processors
from bacpack.text import shell_word
from bacpack.verdict import why_invalid
from bacpack.wasm_tools import wasm_tools


def check_valid(
    blobs: Mapping[str, bytes],
    outputs: Mapping[str, bytes],
    show: Callable[[str], None],
    reused: Mapping[str, bytes] | None = None,
) -> None:
    """Raise when something is invalid.

    A blob: `InputError` (`invalid-blob`); a module of a catalog: `InputError` (`no-catalog`); an output, which is our
    own fault: `BacpackError` (`invalid-output`).
    """
    for named, error in ((blobs, invalid_blob), (reused or {}, _of_catalog), (outputs, _of_output)):
        for name, reason in invalid(named, show).items():
            raise error(name, reason)


def invalid(modules: Mapping[str, bytes], show: Callable[[str], None]) -> dict[str, str]:
    """Return why modules are invalid, by name; valid ones are not in it."""
    reasons = {}
    wasm_tools()  # found once, before threads ask for it
    with ThreadPoolExecutor(processors()) as pool:
        verdicts = zip(modules, pool.map(why_invalid, modules.values()), strict=True)
        for done, (name, reason) in enumerate(verdicts, 1):
            show(f"{done} of {len(modules)} modules validated")
            if reason:
                reasons[name] = reason
    return reasons


def invalid_blob(name: str, reason: str) -> InputError:
    """What to raise for a blob that is not valid."""
    return InputError(
        "invalid-blob",
        f"`{name}` is not valid WebAssembly: {reason}",
        hint=f"`wasm-tools validate {shell_word(name)}` says the same; build it again",
        details={"blob": name},
    )


def _of_catalog(cid: str, reason: str) -> BacpackError:
    return InputError(
        "no-catalog",
        f"module {cid} of a catalog is not valid WebAssembly: {reason}",
        hint="bacpack did not write it: split without the catalog that has it",
        details={"cid": cid},
    )


def _of_output(name: str, reason: str) -> BacpackError:
    return BacpackError(
        "invalid-output",
        f"the split of `{name}` came out invalid, so nothing was written: {reason}",
        hint="this is a fault in bacpack: please report it with the program",
    )
