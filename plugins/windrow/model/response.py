"""The response to one attempt at a call."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from windrow.model.redact import blot, blot_sent

_EXCERPT = 200
"""Maximum characters of the API's error text in a message."""
_READ = 100_000
"""Bytes of a body that are searched for secrets: longer than a signature, so that no secret is cut before."""
_YEAR_S = 366 * 24 * 3600.0
_EPOCH_S, _EPOCH_MS = 1e9, 1e11
"""A number above the first is a Unix timestamp in seconds, above the second in milliseconds."""
_LINK = re.compile(r'<(?P<target>[^<>]*)>(?P<params>(?:[^,"]|"[^"]*")*)')
_LINK_PARAM = re.compile(r';\s*(?P<name>[^\s=;,"]+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s;,"]*))')
"""A link of a Link header and a parameter of it, RFC 8288 section 3."""


@dataclass(slots=True)  # frozen, it takes 2 us longer to make: one for each call
class Response:
    """``status`` is None if no answer came; ``trouble`` is the reason.

    ``headers`` of the answer are case-insensitive when they come from the client. ``signature`` are the headers that
    signed the attempt: compared, never shown. With a status, ``trouble`` says what is wrong with the answer, such as a
    redirect that is not allowed.
    """

    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trouble: str = ""
    advice: str = ""
    """What to do about ``trouble``, if its cause is known, such as a proxy."""
    cut: bool = False
    """The body was too long: the connection was closed, and this is its beginning."""
    revisited: bool = False
    """The API answered 304, and the body comes from the cache."""
    signature: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def retry_after_s(self) -> float | None:
        """The seconds to wait of the header Retry-After; None without the header."""
        return retry_after_s(self.headers.get("Retry-After"))

    @property
    def location(self) -> str:
        """The target of a redirect, as in the header Location; empty if this is not a redirect."""
        return self.headers.get("Location", "") if self.status in {301, 302, 303, 307, 308} else ""

    @property
    def next_link(self) -> str:
        """The target of ``rel=next`` in the Link headers, unchanged; empty without one."""
        lines = [value for name, value in self.headers.items() if len(name) == 4 and name.lower() == "link"]
        if not lines:
            return ""
        for link in _LINK.finditer(", ".join(lines)):
            for param in _LINK_PARAM.finditer(link["params"]):
                told = param["bare"] if param["quoted"] is None else param["quoted"]
                if param["name"].lower() == "rel" and "next" in told.lower().split():
                    return link["target"]
        return ""

    @property
    def excerpt(self) -> str:
        """The beginning of the body as one line, for a message, without secrets."""
        text = blot(blot_sent(self.body[:_READ].decode("utf-8", "replace"), self.signature.values()))
        line = " ".join(text.split())
        return line if len(line) <= _EXCERPT else line[:_EXCERPT] + " ..."

    @property
    def summary(self) -> str:
        """The response in one line, for a message."""
        return self.trouble if self.status is None else f"HTTP {self.status} {self.trouble or self.excerpt}".rstrip()


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds to wait of a Retry-After header; None without a valid one.

    RFC 9110 section 10.2.3 allows seconds or an HTTP date. APIs also send timestamps: Unix time in seconds or
    milliseconds, or ISO 8601. A time in the past gives 0. Anything else, or more than a year ahead, is ignored.
    """
    if header is None:
        return None
    now = datetime.now(UTC)
    try:
        seconds = float(header)
        if seconds >= _EPOCH_S:
            seconds = seconds / (1000 if seconds >= _EPOCH_MS else 1) - now.timestamp()
    except ValueError:
        moment = _moment(header)
        if moment is None:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if -math.inf < seconds <= _YEAR_S else None


def is_epoch(text: str) -> bool:
    """Return whether a string is a Unix timestamp in seconds."""
    try:
        return _EPOCH_S <= float(text) < _EPOCH_MS
    except ValueError:
        return False


def _moment(text: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(text)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None
