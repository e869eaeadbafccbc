"""Conditional requests, RFC 9110 section 13: ask only whether an answer has changed since it was last given.

An API may answer 304 then, which often costs nothing, and the kept body is the answer. What is sent is the instant of
the last change where the API told one. An ETag is sent only with the same credential as before, since some are good for
one token each. Of a list only pages that have a next one are kept: an ETag tells nothing of the Link header, and the
last page of a list may have got a next one without a change of its own.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from windrow.model.answer import LARGEST, Answer
from windrow.model.query import Query
from windrow.model.response import Response


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer, and how to ask whether it still holds. ``signed_by`` is the identity of a credential."""

    body: str
    etag: str = ""
    last_modified: str = ""
    next_link: str = ""
    signed_by: str = ""

    def conditions(self, identity: str) -> Mapping[str, str]:
        """Return the headers of a call that is signed by this credential."""
        if self.last_modified:
            return {"If-Modified-Since": self.last_modified}
        return {"If-None-Match": self.etag} if self.etag and self.signed_by == identity else {}

    def answering(self, response: Response, *, is_json: bool = True) -> Response:
        """Turn a 304 into the answer that it stands for. Other formats than JSON get a byte order mark."""
        headers = {"Link": f'<{self.next_link}>; rel="next"'} if self.next_link else {}
        body = self.body.encode("utf-8" if is_json else "utf-8-sig")
        return replace(response, status=200, body=body, headers=headers, revisited=True)


class HttpCache(Protocol):
    """Where answers are kept, for all runs."""

    def kept(self, api: str, key: str) -> CachedAnswer | None:
        """Return the last answer of an API to the query of this key."""

    def keep(self, api: str, key: str, kept: CachedAnswer) -> None:
        """Keep an answer, in place of the one before."""


class ConditionalRequests:
    """The kept answers of one API.

    :param api: its address.
    """

    def __init__(self, cupboard: HttpCache, api: str) -> None:
        self._cupboard = cupboard
        self._api = api

    async def find(self, query: Query) -> CachedAnswer | None:
        """Return what was answered before. A POST is never asked conditionally."""
        return None if query.body else await asyncio.to_thread(self._cupboard.kept, self._api, query.key)

    async def keep(self, answer: Answer, response: Response, identity: str) -> None:
        """Keep an answer if it is new, and can be asked for conditionally."""
        headers = response.headers
        kept = CachedAnswer(
            answer.body,
            headers.get("ETag", ""),
            headers.get("Last-Modified", ""),
            answer.next_link,
            identity,
        )
        again = kept.last_modified or (kept.etag and kept.next_link)
        fits = len(kept.body) * 4 <= LARGEST or len(kept.body.encode()) <= LARGEST
        if again and fits and not response.revisited and not answer.query.body:
            await asyncio.to_thread(self._cupboard.keep, self._api, answer.query.key, kept)
