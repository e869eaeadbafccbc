"""A query: one call to make, with a key that is the same whenever the same call is planned."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from windrow.model.errors import BadParameter

_KEY_LIMIT = 300
"""Maximum bytes of a key; longer ones are shortened. Old versions of MongoDB limit an index entry to 1,024 bytes."""
_ESCAPES = {ord(sign): f"%{ord(sign):02X}" for sign in "%&=+#?|" + "".join(map(chr, range(32))) + "\x7f"}
"""Characters that have a meaning in a URL or in an ``_id`` of the staging, and control characters."""


@dataclass(frozen=True, slots=True)
class Query:
    """One call. ``params`` are sent in this order; ``cost`` is in quota units of the API.

    It is a GET, or a POST if it has a ``body`` (JSON). ``headers`` are sent in addition to those of every call.
    """

    key: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    cost: int = 1
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    @classmethod
    def of(
        cls,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        cost: int = 1,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        known_by: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a query. Its key is its path and its sorted parameters, as in a URL.

        The key is readable in a log: only characters that would make it ambiguous are escaped. The end of a very
        long key is replaced by a digest of the complete key.

        :param known_by: values for the key instead of the parameters, for example from the body of a POST.
        :raises BadParameter: a value cannot be encoded as UTF-8.
        """
        pairs = tuple((params or {}).items())
        key = _key(path, known_by.items() if known_by else pairs)
        return cls(key, path, pairs, cost, tuple((headers or {}).items()), body)

    def following(self, link: str) -> "Query":
        """Make the query for the next page, from the link in an answer to this query."""
        parts = urlsplit(link)
        params = tuple(parse_qsl(parts.query, keep_blank_values=True))  # a name may be there more than once
        return Query(_key(parts.path, params), parts.path, params, self.cost, self.headers)

    @property
    def row(self) -> tuple[object, ...]:
        """The query as plain values, for storing."""
        row = (self.key, self.path, self.params, self.cost, self.headers, self.body)
        return row if self.headers or self.body else row[:4]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Query":
        """Make the query from the value of `row`, also after a conversion to JSON and back."""
        key, path, params, cost, *rest = row
        headers, body = rest or ((), "")
        return cls(key, path, _pairs(params), cost, _pairs(headers), body)


def _key(path: str, told: Iterable[tuple[str, str]]) -> str:
    """Make the key of a call.

    :raises BadParameter: it cannot be encoded as UTF-8.
    """
    key = path.removeprefix("/")
    if asked := "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in sorted(told)):
        key += f"?{asked}"
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise BadParameter(
            f"The query {key!r} contains an invalid character (half of a surrogate pair).",
            advice="Remove the character from the param or the list that has it.",
        ) from None
    if len(encoded) > _KEY_LIMIT:
        head = encoded[: _KEY_LIMIT - 33].decode("utf-8", "ignore")
        key = f"{head}~{hashlib.sha256(encoded).hexdigest()[:32]}"
    return key


def _pairs(pairs: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs)


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
