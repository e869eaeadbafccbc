"""Where a client may call: its base URL, redirects and links that stay at allowed origins, no credential in a URL."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from yarl import URL

from windrow.model.answer import Answer
from windrow.model.errors import QueryRefused, Unreadable
from windrow.model.query import Query
from windrow.model.response import Response

MOST_REDIRECTS = 10
"""Maximum redirects of one call. Browsers follow 20."""
_PATHS = 100
"""Paths whose URLs are kept: most calls of a stream differ in parameters only."""
_COMPLETE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
"""How the path of a query begins if it is a complete URL."""


class Urls:
    """The URLs of one API.

    :param name: name of this API in messages: the id of its Airflow connection.
    :param origins: the allowed origins besides that of ``base_url``.
    :param credential_params: query parameters that carry a credential. They are removed from every URL, because APIs
        return them in links.
    """

    def __init__(
        self, base_url: str, *, name: str, origins: Collection[str] = (), credential_params: Collection[str] = ()
    ) -> None:
        self.base = URL(f"{base_url}/")
        self.origins = {self.base.origin(), *(URL(origin).origin() for origin in origins)}
        self._name = name
        self._at = lru_cache(_PATHS)(self._place)
        self._credential_params = tuple(credential_params)

    def of(self, query: Query) -> URL:
        """Return the URL of a query. Its path is below the base URL, or a complete URL at an allowed origin.

        :raises QueryRefused: the origin is not allowed.
        """
        try:
            url, origin = self._at(query.path)
        except ValueError:
            raise QueryRefused(
                f"The query {query.key!r} has an invalid URL.", advice="Fix the path of the query.", key=query.key
            ) from None
        if url.user is not None or url.password is not None:
            raise QueryRefused(
                f"A query has a login in its URL, which is at {origin}.",
                advice=f"Remove it from the URL. Set the login in the Airflow connection '{self._name}'.",
            )
        if origin not in self.origins:
            raise QueryRefused(
                f"The query {query.key!r} is at {origin}, which is not an allowed origin: {self._allowed()}.",
                advice=f"If the origin is correct, add it to 'origins' in the extra of the connection '{self._name}'.",
                key=query.key,
            )
        return self._unsigned(url.extend_query(query.params) if query.params else url)

    def _place(self, path: str) -> tuple[URL, URL]:
        """Return the URL of a path, and its origin.

        :raises ValueError: the URL is invalid.
        """
        if path.startswith("//"):
            url = URL(f"{self.base.scheme}:{path}")
        elif _COMPLETE.match(path):
            is_signed = "?" in path and path.isascii()  # it is sent as it is
            url = URL(path, encoded=is_signed)
        else:  # "./": a colon in the path does not make a scheme
            url = self.base.join(URL(f"./{path.lstrip('/')}"))
        return url, url.origin()

    def redirected(self, query: Query, response: Response, way: Sequence[URL]) -> URL:
        """Return the target of a redirect.

        :raises ValueError: the redirect is not allowed; the message says why.
        """
        where = response.location[:80]
        try:
            target = self._unsigned(way[-1].join(URL(response.location)).with_user(None))
            origin = target.origin()
        except ValueError:
            raise ValueError(f"redirects to an invalid URL: {where!r}") from None
        if origin not in self.origins:
            raise ValueError(f"redirects to {where!r}, which is not at an allowed origin: {self._allowed()}")
        if query.body and response.status not in {307, 308}:
            raise ValueError(f"redirects a POST to {where!r}, which would drop its body")
        if target in way:
            raise ValueError(f"redirects in a loop, back to {where!r}")
        if len(way) > MOST_REDIRECTS:
            raise ValueError(f"redirects more than {MOST_REDIRECTS} times, last to {where!r}")
        return target

    def resolved(self, query: Query, link: str) -> str:
        """Return where a link in the answer to a query leads: a path below the base URL, or a complete URL elsewhere.

        :raises Unreadable: the origin is not allowed, so it must not get a signature.
        """
        try:
            target = URL(link) if _COMPLETE.match(link) and link[0] != "/" else self.of(query).join(URL(link))
            target = self._unsigned(target.with_user(None).with_fragment(None))
            is_allowed = target.origin() in self.origins
        except ValueError:
            is_allowed = False
        if not is_allowed:
            raise Unreadable(
                f"its next page {link[:80]!r} is not at an allowed origin: {self._allowed()}", key=query.key
            )
        is_below = target.raw_path.startswith(self.base.raw_path)
        # A path without a host that is not below the base URL comes from an API that does not know its own prefix.
        if target.origin() != self.base.origin() or not (is_below or link.startswith("/")):
            return str(target)
        return f"/{target.raw_path_qs.removeprefix(self.base.raw_path).lstrip('/')}"

    def next_link(self, query: Query, response: Response) -> str:
        """Return the path of the next page, with its parameters, if the answer has a link to one."""
        return self.resolved(query, response.next_link) if response.next_link else ""

    def page_query(self, query: Query) -> Query:
        """Return the query of a next page with its path below the base URL, if that is where it is.

        :raises Unreadable: it is not at an allowed origin, so it must not get a signature.
        """
        return query.at(self.resolved(query, query.path)) if _COMPLETE.match(query.path) else query

    def with_links(self, answer: Answer) -> Answer:
        """Return a stored answer with its links, as it was when it arrived."""
        return replace(answer, resolve=partial(self.resolved, answer.query))

    def allows(self, url: URL) -> bool:
        """Return whether this URL is at an allowed origin."""
        return url.origin() in self.origins and url.user is None

    def _allowed(self) -> str:
        """Return the allowed origins, for a message."""
        return ", ".join(sorted(str(origin) for origin in self.origins))

    def _unsigned(self, url: URL) -> URL:
        """Remove the query parameters that carry a credential: APIs return them in links."""
        return url.without_query_params(*self._credential_params) if self._credential_params else url
