"""Reading blocks for those who ask: at once where the system has them in memory, otherwise in a thread.

A read that must wait for a disk would hold up every other request; going through a thread takes longer than to read a
small block that is in memory. The system can be asked for what it has in memory only.

Blocks are checked against their CID each time that they are read, though they were when they were stored: a hash of
4 KiB takes 3 µs, and damage on a disk is so found here, where it means "not here", and not by a peer, who would trust
this node no more.
"""

from __future__ import annotations

import os

from bacpack.content.cid.block import CorruptBlockError, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore

#: Largest block that is hashed without a thread, a fifth of a millisecond.
MAX_BYTES_AT_ONCE = 256 << 10

#: Zero where the system cannot be asked; everything is then read in a thread.
_ONLY_IF_IN_MEMORY: int = getattr(os, "RWF_NOWAIT", 0)


def get_from_memory(store: BlockStore, cid: Cid, name: str) -> bytes | None:
    """Return a block if that needs no waiting, otherwise None; `name` is its CID, version 1, as text.

    Raises `MissingBlockError`, also when the block does not match its CID.
    """
    if cid.is_identity:
        return cid.identity_data
    path = store.path_of(name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingBlockError(cid) from None
    except OSError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        if not _ONLY_IF_IN_MEMORY or size > MAX_BYTES_AT_ONCE:
            return None
        buffer = bytearray(size)
        if os.preadv(descriptor, [buffer], 0, _ONLY_IF_IN_MEMORY) != size:
            return None
    except OSError:
        return None
    finally:
        os.close(descriptor)
    block = bytes(buffer)
    if not cid.matches(block):
        raise CorruptBlockError(cid, f"the store (`{path}`)")
    return block
