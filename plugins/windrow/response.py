"""What one attempt at a call brought."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_EXCERPT = 200
"""Characters of an API's own error text that go into a message."""
_READ = 100_000
"""Bytes of a body that are looked at for it: more than a signature has, so that none is cut before it is seen."""
_YEAR_S = 366 * 24 * 3600.0
_LINK = re.compile(r'<(?P<target>[^<>]*)>(?P<params>(?:[^,"]|"[^"]*")*)')
_LINK_PARAM = re.compile(r';\s*(?P<name>[^\s=;,"]+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s;,"]*))')
"""A link of a Link header and a parameter of it, RFC 8288 section 3."""


@dataclass(frozen=True, slots=True)
class Response:
    """``status`` is None when no answer came, and ``trouble`` then says why.

    ``headers`` are those of the answer; their names may be written in any case when they come from the wire.
    ``signature`` are the headers that signed the attempt: compared, never shown.
    """

    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trouble: str = ""
    revisited: bool = False
    """The API said 304, and the body is the one that was kept."""
    signature: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def retry_after_s(self) -> float | None:
        """The seconds that the header Retry-After asks to wait; None without one."""
        return retry_after_s(self.headers.get("Retry-After"))

    @property
    def next_link(self) -> str:
        """The target of ``rel=next`` in the Link headers, as it is written there; empty without one."""
        lines = (value for name, value in self.headers.items() if name.lower() == "link")
        for link in _LINK.finditer(", ".join(lines)):
            for param in _LINK_PARAM.finditer(link["params"]):
                told = param["bare"] if param["quoted"] is None else param["quoted"]
                if param["name"].lower() == "rel" and "next" in told.lower().split():
                    return link["target"]
        return ""

    @property
    def excerpt(self) -> str:
        """The beginning of the body as one line, for a message. What signed the attempt is blotted out of it."""
        text = self.body[:_READ].decode("utf-8", "replace")
        for header in self.signature.values():
            for word in header.split()[-1:]:  # "Bearer TOKEN": an API may quote what it was sent
                text = text.replace(word, "***")
        line = " ".join(text.split())
        return line if len(line) <= _EXCERPT else line[:_EXCERPT] + " ..."

    @property
    def summary(self) -> str:
        """The response in one line, for a message."""
        return self.trouble if self.status is None else f"HTTP {self.status} {self.excerpt}".rstrip()


def retry_after_s(header: str | None) -> float | None:
    """Read a Retry-After header, RFC 9110 section 10.2.3: seconds, or an HTTP date. None if there is none.

    A date in the past gives 0. A header that is neither, or that asks for more than a year, counts as absent.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = (moment - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds <= _YEAR_S else None
