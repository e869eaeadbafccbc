"""An item of DynamoDB: its size, and the arguments of a write that never replaces a newer item."""

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

log = logging.getLogger(__name__)

Item = Mapping[str, Any]
"""Plain values by attribute; numbers are int or Decimal."""

LARGEST = 400_000
"""Maximum size of an item, in bytes; DynamoDB refuses more than 409,600."""
CUT = "is_cut"
"""Attribute of an item that was too large: true."""
_NUMBER_BYTES = 21


def put_of(item: Item, *, key: str, version: str) -> dict[str, Any]:
    """Return the arguments of PutItem for an item that replaces only an item of the same or an older version.

    :param key: the partition key.
    :param version: the attribute that shows which of two items is newer.
    """
    return {
        "Item": fitted(item, keep=(key, version)),
        "ConditionExpression": "(attribute_not_exists(#key) OR attribute_not_exists(#version) OR #version <= :own)",
        "ExpressionAttributeNames": {"#key": key, "#version": version},
        "ExpressionAttributeValues": {":own": item[version]},
    }


def fitted(item: Item, *, keep: Sequence[str]) -> dict[str, Any]:
    """Return an item that DynamoDB accepts. Its largest attributes are cut at their end until it fits.

    :param keep: attributes that are not cut.
    """
    made = dict(item)
    while (excess := _size(made) - LARGEST) > 0:
        name = max(made.keys() - set(keep), key=lambda name: _size(made[name]), default=None)
        if name is None:
            break
        log.warning("The attribute %r of the item %.80r is cut: it is too large", name, made[keep[0]])
        made[name] = _shortened(made[name], excess)
        made[CUT] = True
    return made


def _shortened(value: Any, excess: int) -> Any:
    """Return a value without so many bytes at its end, or more; None if it cannot be cut."""
    if isinstance(value, str) and value:
        return value.encode()[: -excess or None].decode(errors="ignore") if excess < len(value.encode()) else ""
    if isinstance(value, list) and value:
        shorter = list(value)
        while shorter and excess > 0:
            excess -= _size(shorter.pop()) + 1
        return shorter
    return None


def _size(value: Any) -> int:
    """Return the size of a value in DynamoDB, in bytes, or a little more."""
    match value:
        case str():
            return len(value.encode())
        case bool() | None:
            return 1
        case int() | Decimal():
            return _NUMBER_BYTES
        case Mapping():
            return 3 + sum(1 + len(str(name).encode()) + _size(one) for name, one in value.items())
        case _:
            return 3 + sum(1 + _size(one) for one in value)
