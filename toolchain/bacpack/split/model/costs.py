"""The objective of a split, in bytes: the sum over modules of

    size + MODULE_COST + users * IMPORT_COST + FETCH_WEIGHT * users * size

that is: what is stored, what a module costs by being one, and, at a lower weight, what its users fetch.
"""

from __future__ import annotations

#: Bytes a module takes before its first function: sections, types, and imports of the environment.
MODULE_COST = 600
#: Bytes in each user's remainder: a namespace is 59 bytes, and few modules are used through fewer than two imports.
IMPORT_COST = 150
#: What one byte fetched counts against one byte stored.
FETCH_WEIGHT = 0.05
#: Code of one blob alone is put into a module when there is so much of it.
LEAST_OWN_BYTES = 8_192
#: A module of at most 1 MiB is one block, named by the plain hash of its bytes. Code is most of it, slots the rest.
MAX_CODE_BYTES = 900_000


def cost(users: int, size: int) -> float:
    """What a module of so many bytes costs that these blobs use, given as a set of bits."""
    count = users.bit_count()
    return size + MODULE_COST + count * IMPORT_COST + FETCH_WEIGHT * count * size
