"""Read JSON without changing a value.

orjson is fast, but it turns integers of more than 64 bits and decimals of more than 17 digits into the nearest float,
and keeps the last of two equal keys. Both are rare. So a text is first parsed by orjson, and again by the standard
library, which is several times slower, if it may contain one of them.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal

import orjson

from windrow.model.errors import Unreadable

_LONG = b"0" * 17
"""So many digits, with or without a decimal point, may be more than a float holds exactly."""
_DIGITS = bytes(ord("0") if chr(byte) in "0123456789." else byte for byte in range(256))
_LONG_NUMBER = re.compile(rb"(?:^|[\[,:\s])-?[0-9.]{17}")
"""The same outside of a string, as in most cases: ids of many digits are strings."""
_MOST_DIGITS = 4_000
"""Digits of a number; Python itself refuses longer integers."""


def loads(body: bytes) -> object:
    """Parse JSON.

    :returns: as `json.loads`, except that a decimal that no float holds exactly is a `Decimal`.
    :raises Unreadable: it is not valid JSON, an object has a key twice, or a number has too many digits.
    """
    parsed = _parsed(body)
    # A key of an object is followed by `":`. Fewer of them in the parsed value mean that a key was there twice, or that
    # there are spaces before colons; the second parser tells the difference.
    if _has_long_number(body) or body.count(b'":') != _keys(parsed):
        return _exact(body)
    return parsed


def reread(bodies: Sequence[str]) -> list[object]:
    """Parse JSON texts that `loads` has accepted before.

    :raises Unreadable: one of them is not valid JSON; the message is about the first one.
    """
    # the digits of all are looked for at once: a comma between two texts ends a number
    data = ",".join(bodies).encode()
    if _has_long_number(data):
        return [_exact(body) if _has_long_number(body) else _parsed(body) for body in map(str.encode, bodies)]
    try:
        return list(map(orjson.loads, bodies))
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"invalid JSON: {error}") from None


def dumps(value: object, *, sort: bool = False) -> str:
    """Write a parsed value as compact JSON, each number with all its digits.

    :raises Unreadable: it is nested too deeply.
    """
    option = orjson.OPT_SORT_KEYS if sort else 0
    try:
        return orjson.dumps(value, default=_as_written, option=option).decode()
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, which orjson does not pass to `default`
        pass
    try:
        return orjson.dumps(_fragments(value), default=_as_written, option=option).decode()
    except (orjson.JSONEncodeError, RecursionError):
        raise Unreadable("it is nested too deeply to be stored as JSON") from None


def _has_long_number(body: bytes) -> bool:
    return _LONG in body.translate(_DIGITS) and _LONG_NUMBER.search(body) is not None


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"invalid JSON: {error}") from None


def _keys(parsed: object) -> int:
    try:
        return orjson.dumps(parsed).count(b'":')
    except orjson.JSONEncodeError:  # nested more deeply than orjson writes, which is less deep than it reads
        return -1


def _exact(body: bytes) -> object:
    try:
        return json.loads(body, parse_float=_number, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # also an integer with more digits than Python reads
        raise Unreadable(f"JSON that cannot be read exactly: {str(error)[:200]}") from None


def _number(text: str) -> float | Decimal:
    if len(text) > _MOST_DIGITS:
        raise Unreadable(f"a number of {len(text):,} characters, more than {_MOST_DIGITS:,}")
    exact, near = Decimal(text), float(text)
    return near if Decimal(repr(near)) == exact else exact


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"an object has the key {twice[:80]!r} twice")
    return made


def _as_written(value: object) -> object:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _fragments(value: object) -> object:
    match value:
        case bool() | None | str() | float():
            return value
        case int() if not -(2**63) <= value < 2**64:
            return orjson.Fragment(str(value))
        case dict():
            return {name: _fragments(each) for name, each in value.items()}
        case list():
            return [_fragments(each) for each in value]
    return value
