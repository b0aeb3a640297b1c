"""The content of a memory, kept in small parts: it may be large, and hold little, anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from bacpack.proof.value import Value

_PART = 512
_ZEROS = bytes(_PART)


@dataclass
class Content:
    """Bytes by address; those that nobody wrote are zero."""

    parts: dict[int, bytearray] = field(default_factory=dict)

    def write(self, to: int, content: bytes) -> None:
        """Copy `content` to an address."""
        done = 0
        while done < len(content):
            number, offset = divmod(to + done, _PART)
            piece = content[done : done + _PART - offset]
            if number not in self.parts:
                self.parts[number] = bytearray(_PART)
            self.parts[number][offset : offset + len(piece)] = piece
            done += len(piece)

    def first_difference(self, other: Content) -> int | None:
        """The lowest address at which two contents differ."""
        for number in sorted(self.parts.keys() | other.parts.keys()):
            ours, theirs = self.parts.get(number, _ZEROS), other.parts.get(number, _ZEROS)
            if ours != theirs:
                return number * _PART + next(at for at in range(_PART) if ours[at] != theirs[at])
        return None

    def read(self, address: int, size: int) -> bytes:
        """The bytes at an address."""
        number, offset = divmod(address, _PART)
        if number in self.parts and offset + size <= _PART:
            return bytes(self.parts[number][offset : offset + size])
        return bytes(self.byte(at) for at in range(address, address + size))

    def byte(self, address: int) -> int:
        """The byte at an address."""
        number, offset = divmod(address, _PART)
        return self.parts[number][offset] if number in self.parts else 0


@dataclass
class Later:
    """What is written to known places after something else was to a place that only the host knows."""

    content: Content = field(default_factory=Content)
    #: One for each byte that was written.
    written: Content = field(default_factory=Content)
    entries: dict[int, Value] = field(default_factory=dict)
