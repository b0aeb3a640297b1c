"""CAR files: blocks with their CIDs, one after another. Version 1 is written, versions 1 and 2 are read.

Specification: https://ipld.io/specs/transport/car/. Where it leaves something open: the number of roots is free; blocks
may be repeated and need not belong to the roots; a section of length zero is an error, for it hides a cut file.
"""

from bacpack.content.car.header import CarError
from bacpack.content.car.reader import CarReader
from bacpack.content.car.writer import car_chunks

__all__ = ["CarError", "CarReader", "car_chunks"]
