"""A query: one call to make, with a key that is the same whenever the same call is planned."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from windrow.model.errors import BadParameter, Unreadable
from windrow.model.formats import JSON, Format

_KEY_LIMIT = 300
"""Maximum bytes of a key; longer ones are shortened. Old versions of MongoDB limit an index entry to 1,024 bytes."""
_ESCAPES = {ord(sign): f"%{ord(sign):02X}" for sign in "%&=+#?|" + "".join(map(chr, range(32))) + "\x7f"}
"""Characters that have a meaning in a URL or in an ``_id`` of the staging, and control characters."""
_ESCAPED = re.compile(f"[{re.escape(''.join(map(chr, _ESCAPES)))}]")


@dataclass(frozen=True, slots=True)
class Query:
    """One call. ``params`` are sent in this order; ``cost`` is in quota units of the API.

    It is a GET, or a POST if it has a ``body`` (JSON). ``headers`` are sent in addition to those of every call.
    ``about`` says what it is for, such as the name of a place whose coordinates are sent: records may have it as a
    column. ``format`` is that of the answer; it is not stored with the query, as the stream declares it.
    """

    key: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    cost: int = 1
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    about: tuple[tuple[str, str], ...] = ()
    format: Format = field(default=JSON, compare=False)

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
        about: Mapping[str, str] | None = None,
        format: Format = JSON,
    ) -> Self:
        """Make a query. Its key is its path and its sorted parameters, as in a URL.

        The key is readable in a log: only characters that would make it ambiguous are escaped. The end of a very
        long key is replaced by a digest of the complete key.

        :param known_by: values for the key instead of the parameters, for example from the body of a POST.
        :raises BadParameter: a value cannot be encoded as UTF-8.
        """
        pairs = tuple((params or {}).items())
        key = _key(path, known_by.items() if known_by else pairs)
        about_pairs = tuple((about or {}).items())
        return cls(key, path, pairs, cost, tuple((headers or {}).items()), body, about_pairs, format)

    def following(self, link: str) -> "Query":
        """Make the query for the next page, from the link in an answer to this query. A POST keeps its body.

        :param link: a complete URL, or a path below the base URL of the API, as in `Answer.next_link`. The client calls
            a complete URL only at an allowed origin.
        :raises Unreadable: the link is not a URL.
        """
        try:
            parts = urlsplit(link)
        except ValueError:
            raise Unreadable(f"its next page {link!r:.80} is not a valid URL") from None
        path = f"{parts.scheme or 'https'}://{parts.netloc}{parts.path}" if parts.netloc else parts.path or self.path
        params = tuple(parse_qsl(parts.query, keep_blank_values=True))  # a name may be there more than once
        return self._with(path, params, self.body)

    def changed(self, params: Sequence[tuple[str, str]] = (), *, body: str | None = None) -> "Query":
        """Make a query that differs from this one in some parameters, or in its body."""
        names = {name for name, _ in params}
        rest = tuple(pair for pair in self.params if pair[0] not in names)
        return self._with(self.path, (*rest, *params), self.body if body is None else body)

    def at(self, path: str) -> "Query":
        """Make the same query with its path written in another way."""
        return self._with(path, self.params, self.body)

    def _with(self, path: str, params: tuple[tuple[str, str], ...], body: str) -> "Query":
        """Make another query of the same kind. What a POST asks is in its body, so its key has a digest of that."""
        asked = (*params, ("body", hashlib.sha256(body.encode()).hexdigest()[:16])) if body else params
        return replace(self, key=_key(path, asked), path=path, params=params, body=body)

    @property
    def row(self) -> tuple[object, ...]:
        """The query as plain values, for storing."""
        if self.about:
            return (self.key, self.path, self.params, self.cost, self.headers, self.body, self.about)
        if self.headers or self.body:
            return (self.key, self.path, self.params, self.cost, self.headers, self.body)
        return (self.key, self.path, self.params, self.cost)

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Query":
        """Make the query from the value of `row`, also after a conversion to JSON and back."""
        key, path, params, cost, *rest = row
        if not rest:  # as of most; a plan has many
            return cls(key, path, _pairs(params), cost)
        without: tuple[Any, ...] = ((), "", ())  # rows of earlier versions are shorter
        headers, body, about = (*rest, *without[len(rest) :])
        return cls(key, path, _pairs(params), cost, _pairs(headers), body, _pairs(about))


def _key(path: str, told: Iterable[tuple[str, str]]) -> str:
    """Make the key of a call.

    :raises BadParameter: it cannot be encoded as UTF-8.
    """
    key = path.removeprefix("/")
    if asked := "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in sorted(told)):
        key += f"?{asked}"
    if key.isascii() and len(key) <= _KEY_LIMIT:
        return key
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
    return tuple([(name, value) for name, value in pairs]) if pairs else ()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES) if _ESCAPED.search(text) else text  # most have none of them
