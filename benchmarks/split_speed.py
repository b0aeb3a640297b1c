"""How long splitting one blob of 1.1 MB takes, beside Binaryen's native `wasm-split` on the same blob.

The blob is a PNG reader of the corpus. It is stripped, and one stripped blob alone is written as it is; so it is given
a name section here that spreads its functions over three libraries and the program: bacpack then does all it can do.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from bacpack.wasm import Kind, Module
from bacpack.wasm.custom_sections import name_section
from corpora import image_blobs
from measure import BACPACK, in_turn, median, table

ROUNDS = 7
#: Every so many functions goes to wasm-split's second module.
STRIDE = 3


def named_blob() -> bytes:
    """The PNG reader with a name for each function."""
    blob = image_blobs()["png-read-image.wasi"].read_bytes()
    module = Module.parse(blob)
    libraries = ("std::__2", "itk", "png", "app")
    first = len(module.imported(Kind.FUNCTION))
    names = {index: f"{libraries[index % 4]}::f{index}()" for index in range(first, len(module.function_types))}
    return blob + name_section(None, {**names, first: "app::main"})


def report() -> str:
    """Run both in turn and describe the result in Markdown."""
    wasm_split = shutil.which("wasm-split")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blob = folder / "png.wasm"
        blob.write_bytes(named_blob())
        module = Module.parse(blob.read_bytes())
        functions = range(len(module.imported(Kind.FUNCTION)), len(module.function_types), STRIDE)
        chosen = ",".join(f"{('std::__2', 'itk', 'png', 'app')[index % 4]}::f{index}()" for index in functions)
        commands = [[BACPACK, "split", str(blob), "-o", str(folder / "out"), "--json", "--quiet"]]
        if wasm_split:
            outputs = ["-o1", str(folder / "first.wasm"), "-o2", str(folder / "second.wasm")]
            features = ["--enable-simd", "--enable-bulk-memory"]
            commands.append([wasm_split, str(blob), *features, f"--split-funcs={chosen}", *outputs])
        results = in_turn(commands, ROUNDS)
        size = blob.stat().st_size
    own = results[0]
    seconds = [json.loads(run.stdout)["seconds"] for run in own]
    rows = [
        ["bacpack: reading, splitting, writing", f"{median(seconds):.3f}"],
        ["bacpack: the whole command, validation included", f"{median([run.wall for run in own]):.3f}"],
    ]
    lines = [f"## Splitting one blob of {size / 1e6:.2f} MB\n"]
    if wasm_split:
        native = [run.wall for run in results[1]]
        rows.append(["wasm-split (Binaryen, native)", f"{median(native):.3f}"])
        alone = median([ours / theirs for ours, theirs in zip(seconds, native, strict=True)])
        whole = median([ours.wall / theirs for ours, theirs in zip(own, native, strict=True)])
        verdict = f"Ratio to wasm-split, round by round: {alone:.2f} for splitting, {whole:.2f} for the whole command."
    else:
        verdict = "wasm-split is not installed here, so there is nothing to compare with: `apt-get install binaryen`."
    return "\n".join([*lines, table(["", "seconds (median)"], rows), "", verdict])


if __name__ == "__main__":
    print(report())
