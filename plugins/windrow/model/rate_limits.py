"""The rate limits of an API for each owner of a credential: which headers report them, and fixed limits."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import orjson

from windrow.model.query import Query
from windrow.model.response import is_epoch, retry_after_s

_STRUCTURED = re.compile(r"\b(?P<name>limit|remaining|reset|q|r|t)\s*=\s*(?P<value>\d+)")
"""Members of the header RateLimit of the IETF's drafts; since the eighth it has r and t, and q is in the policy."""
_UNITS = {"auto": 1.0, "seconds": 1.0, "milliseconds": 0.001}
_SILENT_S = 60.0
"""How long a limit holds if the API does not report its end."""


@dataclass(slots=True)
class LimitWindow:
    """The remaining calls of an owner. ``reset_at`` is a Unix timestamp, by the clock of the API."""

    limit: int
    remaining: int
    reset_at: float


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of each owner of credentials, and how the API reports them. A connection may override each field.

    :param headers: names of the headers for limit, remaining and reset; the first triple with two of its headers in
        the answer is used. The header ``RateLimit`` of the IETF drafts is always read.
    :param reset_unit: unit of the reset header. ``auto``: a small number is seconds until the reset, a large one is a
        Unix timestamp in seconds or milliseconds; ``seconds`` and ``milliseconds`` set the unit.
    :param resource_header: the header with the name of the limit that an answer reports.
    :param resources: the name of the limit that a query counts against, by a pattern of its path; default ``core``.
    :param status: a path that reports the limits at no cost; empty if there is none.
    :param status_at: the field in its JSON that has the limits by resource; empty if the JSON is one limit.
    :param per_minute: calls of one owner in a minute, if no header reports it.
    :param concurrency: maximum concurrent calls of one owner.
    """

    headers: tuple[tuple[str, str, str], ...] = (
        ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
        ("X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"),
        ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    )
    reset_unit: str = "auto"
    resource_header: str = ""
    resources: Mapping[str, str] = field(default_factory=dict)
    status: str = ""
    status_at: str = ""
    per_minute: float | None = None
    concurrency: int | None = None

    def resource_of(self, query: Query | None) -> str:
        """Return the name of the limit that a query counts against."""
        path = query.path.rstrip("/") if query else ""
        return next((name for pattern, name in self.resources.items() if fnmatchcase(path, pattern)), "core")

    def told_by(self, headers: Mapping[str, str]) -> LimitWindow | None:
        """Read the limit in the headers of an answer; None if it is missing or invalid."""
        for limit, remaining, reset in self.headers:
            if remaining in headers and (limit in headers or reset in headers):
                return self._window(headers.get(limit), headers[remaining], headers.get(reset))
        words = {one["name"]: one["value"] for one in _STRUCTURED.finditer(headers.get("RateLimit", ""))}
        if not words:
            return None
        policy = {one["name"]: one["value"] for one in _STRUCTURED.finditer(headers.get("RateLimit-Policy", ""))}
        left = words.get("remaining", words.get("r"))
        return self._window(words.get("limit", policy.get("q")), left, words.get("reset", words.get("t")))

    def told_by_status(self, body: bytes) -> Iterable[tuple[str, LimitWindow]]:
        """Read the answer of the status path, a limit for each resource; nothing if it is invalid."""
        try:
            told = orjson.loads(body)
            for name, each in (told[self.status_at] if self.status_at else {"core": told}).items():
                if window := self._window(each.get("limit"), each.get("remaining"), each.get("reset")):
                    yield name, window
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return

    def _window(self, limit: object, remaining: object, reset: object) -> LimitWindow | None:
        try:
            left = max(0, int(str(remaining)))
            most = left if limit is None else max(1, int(str(limit)))
        except ValueError:
            return None
        return LimitWindow(most, left, self._ends_at(reset))

    def _ends_at(self, reset: object) -> float:
        """Return the end of a window, a time within a year."""
        text = "" if reset is None else str(reset)
        factor = _UNITS[self.reset_unit]
        if factor != 1.0:
            try:
                text = str(float(text) * factor)
            except ValueError:
                text = ""
        left_s = retry_after_s(text)
        if is_epoch(text) and left_s is not None:
            return float(text)
        return time.time() + (_SILENT_S if left_s is None else left_s)


def stated(limits: RateLimits, given: Mapping[str, Any]) -> RateLimits:
    """Return the limits of a source with the changes of a connection.

    :param given: fields of `RateLimits`; ``headers`` is one list of three names.
    :raises ValueError: a field is invalid; the message says which.
    """
    kinds: dict[str, Callable[[Any], bool]] = {
        "headers": lambda value: isinstance(value, list) and len(value) == 3 and all(_is_text(name) for name in value),
        "reset_unit": lambda value: value in _UNITS,
        "resource_header": _is_text,
        "resources": lambda value: isinstance(value, dict) and all(_is_text(name) for name in value.values()),
        "status": _is_text,
        "status_at": _is_text,
        "per_minute": lambda value: _is_number(value) and value > 0,
        "concurrency": lambda value: isinstance(value, int) and _is_number(value) and value > 0,
    }
    for name, value in given.items():
        if name not in kinds:
            raise ValueError(f"unknown field {name!r}. Valid fields: {sorted(kinds)}")
        if not kinds[name](value):
            raise ValueError(f"invalid value for {name!r}: {value!r:.60}")
    changes = {**given, "headers": (tuple(given["headers"]),)} if "headers" in given else given
    return replace(limits, **changes)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12
