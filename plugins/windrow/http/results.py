"""Turns a response into what settles its query: an answer, or a rejected query for the quarantine."""

import codecs
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from windrow.http.urls import Urls
from windrow.model import exact_json
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected, kept
from windrow.model.errors import Unreadable
from windrow.model.formats import JSON, Format
from windrow.model.policy import Action
from windrow.model.query import Query
from windrow.model.redact import blot_sent, without
from windrow.model.response import Response

Reader = Callable[[Query, object], object]
"""Reads a parsed answer; raises `Unreadable` if it does not have the expected format."""


class Garbled(Unreadable):
    """The bytes of an answer are not in its format. With other bytes the next attempt may be better."""


class Results:
    """The results of one API.

    :param urls: resolves the links in answers.
    :param owner_only: fields that the API shows only to the owner of a token: they are removed from every answer.
    """

    def __init__(self, urls: Urls, *, owner_only: Collection[str] = ()) -> None:
        self._urls = urls
        self._owner_only = frozenset(owner_only)

    def settle(self, query: Query, response: Response, action: Action, read: Reader) -> Answer | Rejected | None:
        """Return the result that settles the query; None if the call must be retried.

        :raises Unreadable: the answer cannot be read.
        """
        if action is Action.ACCEPT and response.cut:  # a retry would get the same
            return self.rejected(query, response, _too_large(response))
        if action is Action.ACCEPT:
            return self._read(query, response, read)
        if action is Action.MISSING:
            return Answer(query, Outcome.MISSING, response.status or 0, kept(decoded(response)), datetime.now(UTC))
        if action in {Action.REFUSE, Action.FORBID}:
            return self.rejected(query, response, f"the API rejected the query: {response.summary}")
        return None

    def _read(self, query: Query, response: Response, read: Reader) -> Answer:
        """Turn a successful response into an answer, if the reader accepts it.

        :raises Unreadable: it is not in the format of the query, or not what the reader expects.
        """
        try:
            text, parsed = _parsed(query.format, response)
        except Unreadable as error:
            raise Garbled(error.reason, key=query.key) from None
        read(query, parsed)
        if self._owner_only:
            text = without(self._owner_only, text.encode()).decode()
        return Answer(
            query,
            Outcome.ANSWERED,
            response.status or 0,
            text,
            datetime.now(UTC),
            self._urls.next_link(query, response),
            resolve=partial(self._urls.resolved, query),
            headers=response.headers,
        )

    def rejected(self, query: Query, response: Response, reason: str) -> Rejected:
        """Make the quarantine record. An answer with a next page, or with a truncated body, is marked incomplete."""
        text, raw = _shown(query.format, response)
        if self._owner_only:
            text, raw = without(self._owner_only, text.encode()).decode("utf-8", "replace"), b""
        return Rejected(
            query,
            response.status or 0,
            kept(text),
            reason,
            datetime.now(UTC),
            incomplete=bool(response.next_link) or response.cut,
            raw=raw,
            content_type=response.headers.get("Content-Type", "") if raw else "",
            headers=response.headers,
        )


def _parsed(format: Format, response: Response) -> tuple[str, object]:
    """Return the text of a successful answer, and its values.

    :raises Unreadable: it is not in this format, or its charset is not clear.
    """
    if response.status == HTTPStatus.NO_CONTENT and not format.reads_empty:
        return response.body.decode("utf-8", "replace"), None
    if format is JSON:
        with suppress(Unreadable):  # what is parsed is UTF-8
            parsed = exact_json.loads(response.body)
            return response.body.decode(), parsed
    text = blot_sent(format.text(response.body, response.headers.get("Content-Type", "")), response.signature.values())
    return text, format.parse(text)


def _shown(format: Format, response: Response) -> tuple[str, bytes]:
    """Return the text of an answer for the quarantine, and its bytes where the text does not tell all of them."""
    content_type, is_clear = response.headers.get("Content-Type", ""), not response.cut
    text = decoded(response)
    if is_clear:
        try:
            text = format.text(response.body, content_type)
        except Unreadable:
            is_clear = False
    clean = blot_sent(text, response.signature.values())
    if clean != text:  # the signature was in an encoding in which it was not found before
        return clean, clean.encode()
    if response.cut:
        return text, b""
    is_whole = is_clear and (len(text) * 4 <= LARGEST or len(response.body) <= LARGEST)
    return text, b"" if is_whole and text.encode() == response.body else response.body


def _too_large(response: Response) -> str:
    """Say how large an answer is, as far as the server says it."""
    size, most = response.headers.get("Content-Length", ""), len(response.body)
    is_exact = size.isdecimal() and int(size) > most and "Content-Encoding" not in response.headers
    known = f"{int(size):,} bytes, " if is_exact else ""
    return f"body of {known}more than {most:,} bytes; the connection was closed"


def decoded(response: Response) -> str:
    """Decode a body as UTF-8; invalid bytes become escapes."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return decoder.decode(response.body, final=not response.cut)  # no half character at the end
