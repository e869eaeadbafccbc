"""Paging as data: how an API leads to the next page of an answer.

A stream declares one of these as its ``paging``. Paths of fields have dots, like ``meta.next``. ``rows`` is the path of
the rows of a page, empty if the page itself is a list; ``total`` is the path of the number of all rows. With ``total``,
an answer that ends before it is an error.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from windrow.model import exact_json
from windrow.model.answer import Answer
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.query import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging(ABC):
    """A way to page. ``rows`` and ``total``: see the module."""

    rows: str = ""
    total: str = ""
    repeats: ClassVar[bool] = True
    """Whether two pages in a row may be the same. If not, an API that returns a page twice ignores the parameter."""

    @property
    def ends_at_missing(self) -> bool:
        """Whether a 404 behind the first page is the end."""
        return False

    def first(self, query: Query) -> Query:
        """Return the query of the first page."""
        return query

    def count(self, page: object) -> int:
        """Return the number of rows of a page; 0 if they are not counted.

        :raises Unreadable: there is no list of rows.
        """
        found = at(page, self.rows)
        if isinstance(found, list):
            return len(found)
        if self.rows:
            raise Unreadable(f"the page has no list of rows at {self.rows!r}")
        if self.total or self._ends_by_rows:
            raise Unreadable("the page is not a list; declare in 'rows' of the paging where its rows are")
        return 0

    @property
    def _ends_by_rows(self) -> bool:
        """Whether the last page is known by its number of rows."""
        return False

    def next_page(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        """Return the query of the page after this one, or None if it is the last.

        :param query: the query of the plan.
        :param answer: the page, with its own query.
        :param page: its parsed body.
        :param seen: rows of all pages up to this one.
        :raises Unreadable: the page does not say clearly whether there is another.
        """
        following = self._following(query, answer, page, seen)
        total = self._total(page)
        if following is None and total is not None and seen < total:
            raise Unreadable(f"{self.total!r} is {total:,}, but the pages end after {seen:,} rows")
        return following

    @abstractmethod
    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        """Return what `next_page` returns, before ``total`` is compared."""

    def _total(self, page: object) -> int | None:
        return _whole(at(page, self.total), self.total) if self.total else None


@dataclass(frozen=True, slots=True)
class LinkHeader(Paging):
    """The header Link has a target with ``rel=next``, RFC 8288."""

    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        return answer.query.following(answer.next_link) if answer.next_link else None


@dataclass(frozen=True, slots=True)
class NextUrl(Paging):
    """The body has the URL of the next page, complete or relative to that of the page.

    :param field: path of the URL. Missing, null or empty means that there is no next page.
    """

    field: str = "next"

    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        link = _text(at(page, self.field), self.field)
        return answer.query.following(answer.resolve(link)) if link else None


@dataclass(frozen=True, slots=True)
class Cursor(Paging):
    """The body, or a header, has a cursor that the next call sends.

    :param field: path of the cursor in the body. Missing, null or empty means that there is no next page.
    :param header: name of the header that has it instead.
    :param param: parameter to send it in; with ``in_body`` the path in the JSON body of a POST.
    :param more: path of a boolean that says whether there is a next page.
    """

    field: str = ""
    header: str = ""
    param: str = "cursor"
    in_body: bool = False
    more: str = ""

    def __post_init__(self) -> None:
        if bool(self.field) == bool(self.header):
            raise ValueError("Cursor: set either 'field' or 'header' to where the cursor is")

    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        cursor = answer.headers.get(self.header, "") if self.header else _text(at(page, self.field), self.field)
        if self.more:
            more = at(page, self.more)
            if not isinstance(more, bool):
                raise Unreadable(f"{self.more!r} must be true or false, not {more!r:.60}")
            if more and not cursor:
                raise Unreadable(f"{self.more!r} is true, but there is no cursor")
            cursor = cursor if more else ""
        return with_value(answer.query, self.param, cursor, in_body=self.in_body) if cursor else None


@dataclass(frozen=True, slots=True)
class PageNumber(Paging):
    """Pages are numbered. The last one is the one that reaches ``total`` or ``pages``; without both, the first that
    has fewer rows than ``size``, or none.

    :param param: parameter with the number; with ``in_body`` the path in the JSON body of a POST.
    :param start: number of the first page.
    :param size: rows of a full page, sent in ``size_param``. 0 if unknown.
    :param pages: path of the number of all pages.
    """

    param: str = "page"
    start: int = 1
    size_param: str = ""
    size: int = 0
    pages: str = ""
    in_body: bool = False
    repeats: ClassVar[bool] = False

    @property
    def ends_at_missing(self) -> bool:
        """Whether a 404 behind the first page is the end: yes, unless the API counts rows or pages."""
        return not (self.total or self.pages)

    @property
    def _ends_by_rows(self) -> bool:
        return not self.pages

    def first(self, query: Query) -> Query:
        """Add the first number, and the size."""
        if self.size_param:
            query = with_value(query, self.size_param, self.size, in_body=self.in_body)
        return with_value(query, self.param, self.start, in_body=self.in_body)

    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        number = _number(answer.query, self.param, self.in_body, self.start)
        rows, total = self.count(page), self._total(page)
        if self.pages:
            more = number - self.start + 1 < (_whole(at(page, self.pages), self.pages) or 0)
        elif total is not None:
            more = seen < total and rows > 0
        else:
            more = rows >= max(self.size, 1)
        return with_value(answer.query, self.param, number + 1, in_body=self.in_body) if more else None


@dataclass(frozen=True, slots=True)
class Offset(Paging):
    """Each call says how many rows to skip. The end is that of `PageNumber`.

    :param param: parameter with the number of rows to skip; with ``in_body`` the path in the JSON body of a POST.
    :param limit: rows of a full page, sent in ``limit_param``.
    """

    param: str = "offset"
    limit_param: str = "limit"
    limit: int = 100
    in_body: bool = False
    repeats: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"Offset: limit must be at least 1, not {self.limit}")

    @property
    def _ends_by_rows(self) -> bool:
        return True

    def first(self, query: Query) -> Query:
        """Add the limit, and no rows to skip."""
        if self.limit_param:
            query = with_value(query, self.limit_param, self.limit, in_body=self.in_body)
        return with_value(query, self.param, 0, in_body=self.in_body)

    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        rows, total = self.count(page), self._total(page)
        offset = _number(answer.query, self.param, self.in_body, 0) + rows
        more = seen < total and rows > 0 if total is not None else rows >= self.limit
        return with_value(answer.query, self.param, offset, in_body=self.in_body) if more else None


@dataclass(frozen=True, slots=True)
class TimeWindow(Paging):
    """The time between two parameters of the planned query is asked for in windows, from the first to the last.

    :param start: parameter with the start of a window.
    :param end: parameter with its end.
    :param window: length of a window.
    :param style: how times are written: ``iso``, ``date``, ``epoch`` or ``epoch_ms``, or a format of strftime.
    :param step: from the end of a window to the start of the next; a day where the API includes both days.
    :param most: rows that the API returns of a window at most. A window with so many is an error: rows may be missing.
    """

    start: str = "from"
    end: str = "to"
    window: timedelta = timedelta(days=1)
    style: str = "iso"
    step: timedelta = timedelta(0)
    most: int = 0

    def __post_init__(self) -> None:
        if self.window <= timedelta(0):
            raise ValueError(f"TimeWindow: window must be longer than 0, not {self.window}")

    @property
    def _ends_by_rows(self) -> bool:
        return self.most > 0

    def first(self, query: Query) -> Query:
        """Move the end to that of the first window."""
        return self._window(query, self._time(query, self.start), self._time(query, self.end))

    def _following(self, query: Query, answer: Answer, page: object, seen: int) -> Query | None:
        if self.most and self.count(page) >= self.most:
            raise Unreadable(
                f"the window has {self.count(page):,} rows, and the API returns {self.most:,} at most; declare a "
                "shorter window"
            )
        reached, end = self._time(answer.query, self.end), self._time(query, self.end)
        start = reached + self.step
        return self._window(answer.query, start, end) if reached < end and start <= end else None

    def _window(self, query: Query, start: datetime, end: datetime) -> Query:
        if start > end:
            raise BadParameter(
                f"The query {query.key!r} has no valid time window: {start} to {end}.",
                advice=f"{self.start!r} must not be after {self.end!r}.",
            )
        query = with_value(query, self.start, self._written(start))
        return with_value(query, self.end, self._written(min(start + self.window, end)))

    def _time(self, query: Query, param: str) -> datetime:
        text = dict(query.params).get(param, "")
        try:
            match self.style:
                case "epoch" | "epoch_ms":
                    return datetime.fromtimestamp(int(text) / (1 if self.style == "epoch" else 1000), UTC)
                case "date":
                    day = date.fromisoformat(text)
                    return datetime(day.year, day.month, day.day, tzinfo=UTC)
                case "iso":
                    moment = datetime.fromisoformat(text)
                case _:
                    moment = datetime.strptime(text, self.style)  # noqa: DTZ007 - the zone is set below
        except (ValueError, OverflowError, OSError):
            raise BadParameter(
                f"The query {query.key!r} has an invalid time {text!r:.40} in the parameter {param!r}.",
                advice=f"The paging of the stream expects the style {self.style!r}.",
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _written(self, moment: datetime) -> str:
        match self.style:
            case "epoch" | "epoch_ms":
                return str(round(moment.timestamp() * (1 if self.style == "epoch" else 1000)))
            case "date":
                return moment.date().isoformat()
            case "iso":
                return moment.isoformat().replace("+00:00", "Z")
            case _:
                return moment.strftime(self.style)


def at(page: object, path: str) -> Any:
    """Return the value at a path of names, or None if there is none; the page itself for an empty path."""
    for name in path.split(".") if path else ():
        if not isinstance(page, Mapping):
            return None
        page = page.get(name)
    return page


def with_value(query: Query, name: str, value: object, *, in_body: bool = False) -> Query:
    """Return the query with another value of a parameter, or of a field of its JSON body.

    :raises Unreadable: the body is not a JSON object.
    """
    if not in_body:
        return query.changed(((name, str(value)),))
    try:
        body: Any = exact_json.loads(query.body.encode())
        fields = body
        *path, last = name.split(".")
        for part in path:
            fields = fields.setdefault(part, {})
        fields[last] = value
    except (Unreadable, TypeError, AttributeError, IndexError):
        raise Unreadable(f"the body of the query has no place for {name!r}: it must be a JSON object") from None
    return query.changed(body=exact_json.dumps(body))


def _number(query: Query, name: str, in_body: bool, default: int) -> int:
    value = at(exact_json.loads(query.body.encode()), name) if in_body else dict(query.params).get(name, default)
    return int(value)


def _text(value: object, path: str) -> str:
    """Return a URL or cursor. A number may be a cursor."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is False:
        return ""
    raise Unreadable(f"{path!r} must be a string, not {value!r:.60}")


def _whole(value: object, path: str) -> int:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Unreadable(f"{path!r} must be a whole number, not {value!r:.60}")
    return value
