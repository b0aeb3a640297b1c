"""Print a digest of how programs are cut: by any Python, with nothing installed but the sources.

PYTHONPATH=toolchain python3 tests/wasm/cut_digest.py PROGRAM...
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType


def main() -> None:
    # The package itself imports what reads manifests, which needs more than the standard library.
    package = ModuleType("bacpack.proof")
    package.__path__ = [str(Path(entry) / "bacpack" / "proof") for entry in sys.path]
    sys.modules[package.__name__] = package

    from bacpack.proof.code.tokenizer import Depth, tokenize
    from bacpack.wasm import Module
    from bacpack.wasm.scanner import code_start, scan

    digest = hashlib.sha256()
    for path in sys.argv[1:]:
        data = Path(path).read_bytes()
        for body in Module.parse(data).bodies:
            start = code_start(data, body.start, body.end)
            pieces = [scan(data, start, body.end), *(tokenize(data, start, body.end, depth) for depth in Depth)]
            digest.update(repr(pieces).encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
