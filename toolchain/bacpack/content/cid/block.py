"""What a block is to the rest of the content layer: bytes behind a CID, and the ways that can fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bacpack.content.cid.cid import Cid
from bacpack.errors import CheckFailedError, InputError, UnreachableError

#: Largest block that IPFS implementations exchange.
MAX_BLOCK_BYTES = 2 << 20

#: Returns the block that a CID names, verified; raises `MissingBlockError` when it has none.
GetBlock: TypeAlias = Callable[[Cid], bytes]


class MissingBlockError(UnreachableError):
    """A block is not available; the code is `missing-block`."""

    def __init__(self, cid: Cid, where: str = "the store", code: str = "missing-block", reason: str = "") -> None:
        self.cid = cid
        super().__init__(
            code,
            reason or f"block {cid} is not in {where}",
            hint="`bacpack fetch FILE.car` brings the content of a CAR file into the store",
            details={"cid": str(cid)},
        )


class CorruptBlockError(MissingBlockError):
    """A block's bytes no longer match its CID, so it is as good as missing; the code is `corrupt-block`."""

    def __init__(self, cid: Cid, where: str) -> None:
        reason = f"block {cid} in {where} does not match its CID: its bytes were changed or lost"
        super().__init__(cid, where, "corrupt-block", reason)


class BadBlockError(InputError):
    """A block is not what its codec says; the code is `bad-block`. `reason` is a whole clause."""

    def __init__(self, cid: Cid | None, reason: str) -> None:
        super().__init__(
            "bad-block",
            f"block {cid} cannot be read: {reason}" if cid else f"the block cannot be read: {reason}",
            hint="it is sound by its hash: ask whoever published it",
            details={"cid": str(cid)} if cid else {},
        )


def block_mismatch(cid: Cid, data: bytes | memoryview, where: str = "") -> CheckFailedError:
    """Return the error that says what a CID promised and what `data`, found at `where`, is."""
    got = cid.of_same_kind(data)
    return CheckFailedError(
        "block-mismatch",
        f"a block{where} does not match its CID: expected {cid}, got {got} ({len(data)} bytes)",
        hint="its bytes were changed or damaged on the way: get it again",
        details={"expected": str(cid), "got": str(got), "bytes": len(data)},
    )
