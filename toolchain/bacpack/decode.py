"""Reading what others wrote: JSON, TOML and MessagePack, where everything that can be wrong with bytes is one error.

The readers themselves raise several: one for bad syntax, one for text that is not UTF-8, and `RecursionError` for what
is nested too deeply, which no caller thinks of. Nothing else of ours calls them.
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

T = TypeVar("T")


class DecodeError(ValueError):
    """The bytes are not what they should be; its text says why, as a clause."""


@overload
def decode_json(data: bytes | str) -> Any: ...
@overload
def decode_json(data: bytes | str, kind: type[T]) -> T: ...
def decode_json(data: bytes | str, kind: Any = Any) -> Any:
    """Return the JSON value that is all of `data`, as a `kind`; raises `DecodeError`."""
    import msgspec

    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _explained(error) from error


@overload
def decode_msgpack(data: bytes) -> Any: ...
@overload
def decode_msgpack(data: bytes, kind: type[T]) -> T: ...
def decode_msgpack(data: bytes, kind: Any = Any) -> Any:
    """Return the MessagePack value that is all of `data`, as a `kind`; raises `DecodeError`."""
    import msgspec

    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _explained(error) from error


def decode_toml(data: bytes) -> dict[str, Any]:
    """Return the tables of the TOML document that is all of `data`; raises `DecodeError`."""
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _explained(error) from error


def _explained(error: Exception) -> DecodeError:
    if isinstance(error, RecursionError):
        return DecodeError("it is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return DecodeError(f"byte {error.start} is not UTF-8")
    return DecodeError(str(error))
