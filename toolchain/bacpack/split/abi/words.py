"""Numbers that a program hands over in memory while it is set up: *words*.

Functions that set up a module take their address. As parameters, hundreds of them would make engines spend most of a
program's compilation on passing them.
"""

from __future__ import annotations

from bacpack.wasm import FuncType
from bacpack.wasm.instructions import op
from bacpack.wasm.types import I32, I64

#: The type of a function that takes words: their address is its parameter.
WORDS_TYPE = FuncType((I32,), ())
#: How many words a function takes at most; so they are sure to fit into the smallest memory.
MOST_WORDS = 1000
#: The size of a word of each type, in bytes.
WORD_BYTES = {I32: 4, I64: 8}
#: What all words of one function take at most.
WORDS_BYTES = MOST_WORDS * WORD_BYTES[I64]
#: The declaration of one local of type i32, for the address or index that a function reads from its words.
ONE_LOCAL = b"\1\1" + I32

_LOAD = {I32: "i32.load", I64: "i64.load"}
_ALIGNMENT = 2  # four bytes, as the power of two


def read_word(offset: int, type_: bytes = I32) -> bytes:
    """The instructions that read the word at an offset, in a function that takes words."""
    return op("local.get", 0) + op(_LOAD[type_], _ALIGNMENT, offset)
