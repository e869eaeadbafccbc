"""A query: one call to make, known by a key that is the same whenever the same call is planned."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windrow.errors import BadParameter

_KEY_LIMIT = 300
"""Bytes of a key before it is shortened. MongoDB limits an index entry to 1,024 bytes in old versions."""
_ESCAPES = {ord(sign): f"%{ord(sign):02X}" for sign in "%&=+#?|" + "".join(map(chr, range(32))) + "\x7f"}
"""Signs that have a meaning in a URL or in an ``_id`` of the staging, and control characters."""


@dataclass(frozen=True, slots=True)
class Query:
    """One GET call. ``params`` are sent in this order; ``cost`` is in the API's own quota units."""

    key: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    cost: int = 1

    @classmethod
    def of(cls, path: str, params: Mapping[str, str] | None = None, *, cost: int = 1) -> "Query":
        """Make a query whose key is its path and its parameters, sorted, as they look in a URL.

        A person can read the key in a log: only characters that would make it ambiguous are escaped. A very
        long one keeps its beginning and ends in a digest of the whole.

        :raises BadParameter: a value is no text that can be sent (it holds half of a surrogate pair).
        """
        params = params or {}
        key = path.removeprefix("/")
        if params:
            key += "?" + "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in sorted(params.items()))
        try:
            encoded = key.encode()
        except UnicodeEncodeError:
            raise BadParameter(f"{key!r} holds half a character.", advice="Mend the list or the param.") from None
        if len(encoded) > _KEY_LIMIT:
            head = encoded[: _KEY_LIMIT - 33].decode("utf-8", "ignore")
            key = f"{head}~{hashlib.sha256(encoded).hexdigest()[:32]}"
        return cls(key=key, path=path, params=tuple(params.items()), cost=cost)

    @property
    def row(self) -> tuple[object, ...]:
        """The query as plain values, for storing."""
        return (self.key, self.path, self.params, self.cost)

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Query":
        """Make the query again from what `row` gave, also after a trip through JSON."""
        key, path, params, cost = row
        return cls(key, path, tuple((name, value) for name, value in params), cost)


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def distinct(queries: Iterable[Query]) -> Iterator[Query]:
    """Pass each key once, in the order of first appearance. Holds the keys seen, not the queries."""
    seen: set[str] = set()
    for query in queries:
        if query.key not in seen:
            seen.add(query.key)
            yield query
