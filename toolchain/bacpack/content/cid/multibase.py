"""Bytes as text in any base that CIDs are written in; the first character says which.

Specification: https://github.com/multiformats/multibase. We write base32; tools of others show base36 in host names,
base16 for people who compare bytes, and more.
"""

from __future__ import annotations

_DIGITS = "0123456789"
_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE16, _BASE32HEX = f"{_DIGITS}abcdef", f"{_DIGITS}abcdefghijklmnopqrstuv"
BASE32 = f"{_LOWER}234567"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE64, _BASE64URL = (f"{_UPPER}{_LOWER}{_DIGITS}{last}" for last in ("+/", "-_"))

_EMOJI = (
    "🚀🪐☄🛰🌌🌑🌒🌓🌔🌕🌖🌗🌘🌍🌏🌎🐉☀💻🖥💾💿😂❤😍🤣😊🙏💕😭😘👍😅👏😁🔥🥰💔💖💙😢🤔😆🙄💪😉☺👌🤗💜😔😎"
    "😇🌹🤦🎉💞✌✨🤷😱😌🌸🙌😋💗💚😏💛🙂💓🤩😄😀🖤😃💯🙈👇🎶😒🤭❣😜💋👀😪😑💥🙋😞😩😡🤪👊🥳😥🤤👉💃😳✋😚😝"
    "😴🌟😬🙃🍀🌷😻😓⭐✅🥺🌈😈🤘💦✔😣🏃💐☹🎊💘😠☝😕🌺🎂🌻😐🖕💝🙊😹🗣💫💀👑🎵🤞😛🔴😤🌼😫⚽🤙☕🏆🤫👈😮🙆"
    "🍻🍃🐶💁😲🌿🧡🎁⚡🌞🎈❌✊👋😰🤨😶🤝🚶💰🍓💢🤟🙁🚨💨🤬✈🎀🍺🤓😙💟🌱😖👶🥴▶➡❓💎💸⬇😨🌚🦋😷🕺⚠🙅😟😵"
    "👎🤲🤠🤧📌🔵💅🧐🐾🍒😗🤑🌊🤯🐷☎💧😯💆👆🎤🙇🍑❄🌴💣🐸💌📍🥀🤢👅💡💩👐📸👻🤐🤮🎼🥵🚩🍎🍊👼💍📣🥂"
)

#: The characters of each base, by its prefix, in the order of their values. Each character of a base that has a power
#: of two of them stands for so many bits; text of another one is one large number, after a zero for each byte of zero.
_BASES = {
    "0": "01", "7": "01234567", "9": _DIGITS, "f": _BASE16, "F": _BASE16.upper(),
    "b": BASE32, "B": BASE32.upper(), "c": BASE32, "C": BASE32.upper(), "h": "ybndrfg8ejkmcpqxot1uwisza345h769",
    "v": _BASE32HEX, "V": _BASE32HEX.upper(), "t": _BASE32HEX, "T": _BASE32HEX.upper(),
    "k": f"{_DIGITS}{_LOWER}", "K": f"{_DIGITS}{_UPPER}", "z": BASE58, "Z": f"{BASE58[:9]}{BASE58[33:]}{BASE58[9:33]}",
    "m": _BASE64, "M": _BASE64, "u": _BASE64URL, "U": _BASE64URL, _EMOJI[0]: _EMOJI,
}  # fmt: skip
#: Of those whose text is filled up with `=`: to a multiple of so many characters.
_PADDED = {"c": 8, "C": 8, "t": 8, "T": 8, "M": 4, "U": 4}
_TO_DIGITS = str.maketrans(BASE32, _BASE32HEX)


def decode_multibase(text: str) -> bytes:
    """Return the bytes that `text` stands for; raises `ValueError`, which says why it is no such text.

    Only how an encoder writes the bytes is read, in one case and with no stray bits: otherwise many names would stand
    for one thing.
    """
    prefix, body = text[:1], text[1:]
    if prefix == "b":
        return _decode_base32(body)
    if prefix not in _BASES:
        raise ValueError("it begins as no base does")
    if group := _PADDED.get(prefix):
        bare = body.rstrip("=")
        if bare + "=" * (-len(bare) % group) != body:
            raise ValueError("it is not filled up as its base demands")
        body = bare
    return _decode(body, _BASES[prefix])


def _decode(text: str, alphabet: str) -> bytes:
    values = {character: value for value, character in enumerate(alphabet)}
    number = 0
    for character in text:
        if character not in values:
            raise ValueError(f"`{character}` is no character of base{len(alphabet)}")
        number = number * len(alphabet) + values[character]
    bits = len(alphabet).bit_length() - 1
    if len(alphabet) == 1 << bits:
        return _whole_bytes(number, bits, len(text))
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _decode_base32(text: str) -> bytes:
    if not text or text.strip(BASE32):
        raise ValueError("base32 has the characters a to z and 2 to 7")
    # The interpreter reads numbers in base 32 too, with other digits, ten times as fast as its own base32.
    return _whole_bytes(int(text.translate(_TO_DIGITS), 32), 5, len(text))


def _whole_bytes(number: int, bits: int, characters: int) -> bytes:
    """Return the bytes of a number that so many characters, of so many bits, stand for."""
    count, left_over = divmod(bits * characters, 8)
    if left_over >= bits:
        raise ValueError("some lengths are not possible, and this is one")
    if number & (1 << left_over) - 1:
        raise ValueError("its last character has bits that belong to no byte")
    return (number >> left_over).to_bytes(count, "big")


def decode_base58(text: str) -> bytes:
    """Return the bytes of `text` in base58btc, without a prefix; raises `ValueError`."""
    return _decode(text, BASE58)


def encode_base58(data: bytes) -> str:
    """Return `data` in base58btc, without a prefix, as CIDs of version 0 and peer IDs are written."""
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))
