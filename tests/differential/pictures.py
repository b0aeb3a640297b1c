"""Small images made the same way every time, in the form that the image programs read and write.

That form, `.iwi`, is a folder: `index.json` and the pixels as they lie in memory.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """What an image is made of; its values are gradients along every axis."""

    size: tuple[int, ...]
    #: Component type by the name the programs know, and the letter by which `struct` packs it.
    component: str
    code: str
    channels: int = 1

    def values(self) -> list[int]:
        """Every component, the first axis fastest, channels together."""
        axes = [range(length) for length in reversed(self.size)]
        steps = (3, 5, 11)
        return [
            sum(step * index for step, index in zip(steps, reversed(place), strict=False)) + 20 * channel
            for place in itertools.product(*axes)
            for channel in range(self.channels)
        ]

    def pixels(self) -> bytes:
        """The values as they lie in memory."""
        values = self.values()
        return struct.pack(f"<{len(values)}{self.code}", *values)

    def parts(self) -> tuple[bytes, bytes]:
        """The pixels, and the directions of the axes: one after the other."""
        dimension = len(self.size)
        identity = [float(row == column) for row in range(dimension) for column in range(dimension)]
        return self.pixels(), struct.pack(f"<{len(identity)}d", *identity)

    def index(self, pixels: str, direction: str) -> dict[str, object]:
        """What describes the image, its parts being found at `pixels` and `direction`."""
        dimension = len(self.size)
        return {
            "imageType": {
                "dimension": dimension,
                "componentType": self.component,
                "pixelType": "Scalar" if self.channels == 1 else "RGB",
                "components": self.channels,
            },
            "name": "image",
            "origin": [1.0, 2.0, 3.0][:dimension],
            "spacing": [1.0, 1.5, 2.0][:dimension],
            "direction": direction,
            "size": list(self.size),
            "metadata": [],
            "data": pixels,
        }

    def folder(self, name: str) -> dict[str, bytes]:
        """The files of the image in a folder `name`."""
        place = "data:application/vnd.itk.path,data"
        pixels, direction = self.parts()
        return {
            f"{name}/index.json": json.dumps(self.index(f"{place}/data.raw", f"{place}/direction.raw")).encode(),
            f"{name}/data/data.raw": pixels,
            f"{name}/data/direction.raw": direction,
        }


PICTURES = {
    "grey2": Picture((8, 6), "uint8", "B"),
    "grey3": Picture((8, 6, 4), "uint8", "B"),
    "short3": Picture((8, 6, 4), "int16", "h"),
    "float3": Picture((8, 6, 4), "float32", "f"),
    "rgb2": Picture((8, 6), "uint8", "B", channels=3),
}


def pixels_in(files: Mapping[str, bytes], name: str) -> bytes | None:
    """The pixels of the image that a program left in the folder `name`, None if it left none."""
    return files.get(f"{name}/data/data.raw")


@dataclass(frozen=True)
class Format:
    """A file format, and which pictures it is known to keep: a run that fails both whole and split proves nothing."""

    name: str
    extensions: tuple[str, ...]
    #: Pictures that come back as they were.
    exact: tuple[str, ...] = ()
    #: Pictures that are written and read, and come back changed.
    changed: tuple[str, ...] = ()
    #: Whether it writes anything when asked to compress.
    compresses: bool = True


ALL = tuple(PICTURES)

FORMATS = [
    Format("bio-rad", ("pic",), exact=("grey2", "grey3"), changed=("rgb2",)),
    Format("bmp", ("bmp",), exact=("rgb2",), changed=("grey2",)),
    Format("fdf", ("fdf",)),
    Format("gdcm", ("dcm",), exact=("grey2", "grey3", "rgb2"), compresses=False),
    Format("ge-adw", ("adw",)),
    Format("ge4", ("ge4",)),
    Format("ge5", ("ge5",)),
    Format("gipl", ("gipl", "gipl.gz"), exact=("grey2", "grey3", "short3", "float3"), changed=("rgb2",)),
    Format("jpeg", ("jpg",), changed=("grey2", "rgb2")),
    Format("lsm", ("lsm",), exact=("grey3",)),
    Format("meta", ("mha", "mhd"), exact=ALL),
    Format("mgh", ("mgh", "mgz"), exact=("grey3", "short3", "float3")),
    Format("mrc", ("mrc",), exact=ALL),
    Format("nifti", ("nii", "nii.gz", "hdr"), exact=ALL),
    Format("nrrd", ("nrrd", "nhdr"), exact=ALL),
    Format("png", ("png",), exact=("grey2", "rgb2"), changed=("grey3",)),
    Format("scanco", ("isq",), exact=("short3",)),
    Format("tiff", ("tif",), exact=ALL),
    Format("vtk", ("vtk",), exact=ALL),
    Format("wasm", ("iwi.cbor",), exact=ALL),
    Format("wasm-zstd", ("iwi.cbor.zst",), exact=ALL),
]


def fdf_file(width: int, height: int) -> bytes:
    """An image in a format that can only be read: lines of C, a zero byte, the pixels."""
    header = f"""#!/usr/local/fdf/startup
float rank = 2;
char *spatial_rank = "2dfov";
char *storage = "float";
float bits = 32;
int bigendian = 0;
float matrix[] = {{{width}, {height}}};
float span[] = {{4.0, 3.0}};
float origin[] = {{10.0, 20.0}};
float roi[] = {{{width / 10}, {height / 10}}};
float location[] = {{0.0, 0.0}};
float orientation[] = {{1.0, 0.0, 0.0, 1.0}};
int checksum = 7;
"""
    return header.encode() + b"\0" + Picture((width, height), "float32", "f").pixels()
