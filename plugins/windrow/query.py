"""A query: one call to make, known by a key that is the same whenever the same call is planned."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

_KEY_LIMIT = 300
"""Characters of a key before it is shortened. MongoDB limits an index entry to 1,024 bytes in old versions."""


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

        A person can read the key in a log and paste it behind the base URL. A very long one keeps its
        beginning and ends in a digest of the whole.
        """
        params = params or {}
        key = path.strip("/")
        if params:
            key += "?" + urlencode(sorted(params.items()), quote_via=quote, safe=",():'\" /")
        if len(key) > _KEY_LIMIT:
            key = f"{key[: _KEY_LIMIT - 33]}~{hashlib.sha256(key.encode()).hexdigest()[:32]}"
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


def distinct(queries: Iterable[Query]) -> Iterator[Query]:
    """Pass each key once, in the order of first appearance. Holds the keys seen, not the queries."""
    seen: set[str] = set()
    for query in queries:
        if query.key not in seen:
            seen.add(query.key)
            yield query
