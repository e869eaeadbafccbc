"""What a source has to say about one of its streams. The loop that harvests it is in `windrow.harvest.engine`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, ClassVar, Self, TypeVar

from windrow.model.answer import Answer
from windrow.model.contract import Contract
from windrow.model.errors import Unreadable
from windrow.model.export import ExportJob
from windrow.model.formats import JSON, Format
from windrow.model.paging import Cursor, Paging
from windrow.model.plausible import Plausible
from windrow.model.policy import HTTP_POLICY, ResponsePolicy
from windrow.model.query import Query
from windrow.model.quota import Quota
from windrow.model.rate_limits import RateLimits
from windrow.model.rows import RawRows
from windrow.model.table import Table


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is asked to harvest.

    :param params: the DAG run's params, already validated against their declaration.
    :param at: the instant the run is about: of a scheduled or backfilled run its date, else when it was triggered.
    :param watermark: how far the runs before have come, in the stream's own words; empty when there is none, or
        when this run has nothing to do with it (a backfill).
    """

    params: Mapping[str, object] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    watermark: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """Queries that belong to the plan. The same may be named twice; it is asked once."""

    queries: Iterable[Query]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query whose answer has to be what was promised.

    :param read: takes the parsed answer, or raises `Unreadable`; its result is dropped.
    :param has_alternative: the source gets the same by other calls if this one is refused: a refusal then is not put
        into the quarantine.
    """

    query: Query
    read: Callable[[object], object]
    has_alternative: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of the plan that the API does not return, though it was asked for or promised.

    It is staged as missing, so the receipt counts it; a run accepts as many gaps as its ``max_gaps``.

    :param query: what stands for the part in the plan. It is not sent.
    :param reason: why there is none, and what to do. It is on the receipt.
    :param status: the HTTP status of the API's answer.
    """

    query: Query
    reason: str
    status: int = 404


@dataclass(frozen=True, slots=True)
class MaybePage(Query):
    """The query for a next page that may not exist: the answer may be complete without it.

    If the API refuses it, or it does not fit to the pages before, these are kept, and the answer is a gap on the
    receipt (`Outcome.PARTIAL`).
    """


def each_page(
    query: Query,
    paging: Paging | None,
    format: Format = JSON,
    next_page: Callable[[Query, Answer], Query | None] = lambda query, answer: None,
    read: Callable[[object], object] | None = None,
) -> Generator[Query | Asked, Answer, list[Answer]]:
    """Call all pages of a query in a flow, and return them. See `Stream.pages`.

    :param read: as of `Asked`; a page that it does not accept is requested again when the task is cleared.
    """
    pages: list[Answer] = []
    seen = 0
    following: Query | None = paging.first(query) if paging else query
    while following is not None:
        asked = replace(following, format=format)
        answer = yield Asked(asked, read) if read else asked
        pages.append(answer)
        if paging is None:
            following = next_page(answer.query, answer)
        else:
            page = answer.parsed
            seen += paging.count(page)
            following = paging.next_page(query, answer, page, seen)
    return pages


T = TypeVar("T")
R = TypeVar("R")
Flow = Generator[Query | Asked | Planned | Gap | Unreadable, Any, T]
"""How something is found out by asking. A `Query` that is yielded, or `Asked`, is asked at once, and its `Answer` is
sent back into the generator. Where there is none to go on with, an `Unusable` is thrown into it: `NotGiven` where the
API has no such thing, `QueryRefused` where it refuses, `Unreadable` where the answer is not what was promised or leads
in a circle, `Unanswered` where it keeps failing. What can be left out, the source catches, and goes on with the others:
the answer is in the quarantine. An `Unreadable` that is yielded puts the last answer there for a part of it that is
left out. A `Gap` that is yielded is a part of the plan that the API does not return."""
PlanFlow = Flow[None]
"""How a plan comes about: what is `Planned` is written down, and None is sent back."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One way to harvest, and what it takes at most: units an hour are by the resource they are taken from."""

    name: str
    calls: int
    units: Mapping[str, int]
    hourly: int
    """Units that one owner of a token has in an hour, of each resource."""
    remark: str = ""

    def hours(self, owners: int) -> float:
        """Return for how many hours the units last when those of each owner are used up in turn."""
        return max((units / (self.hourly * owners) for units in self.units.values()), default=0.0)


@dataclass(frozen=True, slots=True)
class CredentialKind:
    """A kind of credential that only one API has, as entries of a list in the extra of its connection.

    :param maker: where the function is that makes a credential of an entry, like ``windrow.sources.shop.key:make``. It
        takes the entry, ``name`` (of the connection) and ``patience_s``, and returns a `windrow.http.pool.Credential`;
        it raises KeyError for a field that is missing, and ValueError or TypeError for one that cannot be used.
    :param fields: what an entry holds, for messages.
    """

    maker: str
    fields: tuple[str, ...]

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, name = self.maker.split(":")
        made: Callable[..., Any] = getattr(import_module(module), name)
        return made


class Stream(ABC):
    """One kind of record of an API: how to list the calls, and how to read the answers. Pure: no I/O, no Airflow.

    ``dataset`` is ``<source>_<noun>``: the name of the staging collection and of the landing table.
    """

    dataset: ClassVar[str]
    """Name of the DAG and of the records: ``<source>_<noun>``, like ``shop_orders``."""
    contract: ClassVar[Contract]
    endpoint: ClassVar[str] = ""
    """Path of the calls, with what varies in braces, for lineage; empty for the noun of the dataset."""
    one_record_an_answer: ClassVar[bool] = False
    """True where each answer holds exactly one record; the receipt then demands as many records as answers."""
    policy: ClassVar[ResponsePolicy] = HTTP_POLICY
    """What the API's answers mean."""
    quotas: ClassVar[tuple[Quota, ...]] = ()
    """What the API allows in a window, where it does not tell in its headers how much is left."""
    rate_limits: ClassVar[RateLimits] = RateLimits()
    """What each owner of a credential is allowed, and how the API tells it."""
    credentials: ClassVar[Mapping[str, CredentialKind]] = {}
    """Kinds of credentials for the pool beside plain tokens, by their field in the connection's extra."""
    headers: ClassVar[Mapping[str, str]] = {}
    """Sent with every call."""
    owner_only: ClassVar[frozenset[str]] = frozenset()
    """Fields that the API tells only to the owner of the token, about themselves: no answer keeps them."""
    conditional_requests: ClassVar[bool] = False
    """True where the API tells cheaply that an answer still holds, see `windrow.http.conditional`."""
    paging: ClassVar[Paging | None] = None
    """How the API leads to the next page of an answer; None if `next_page` does, or if there are no pages."""
    format: ClassVar[Format] = JSON
    """The format of the answers to the queries of a plan."""
    export: ClassVar[ExportJob | None] = None
    """How to run the export job that each query of the plan starts; None if the answers have the rows themselves."""
    planned_from: ClassVar[str] = ""
    """Dataset whose answers of the same run the plan is made from, without asking again; empty for none."""
    table: ClassVar[Table | None] = None
    """How the records become a table, if its SQL is made from the contract."""
    table_dataset: ClassVar[str] = ""
    """Dataset that names the table, where several datasets share it, such as those of accounts; empty for the own."""
    own_rows: ClassVar[Mapping[str, str]] = {}
    """Values that tell the rows of this dataset from others in a shared table, by column."""
    plausible: ClassVar[Plausible | None] = None
    """Which differences from earlier runs are plausible; None if runs are not compared."""
    ignored: ClassVar[Collection[str]] = ()
    """Fields that the contract does not know on purpose: they are in ``_extra``, without a warning."""
    may_be_empty: ClassVar[bool] = False
    """Whether a run without any record is normal, as for an increment with nothing new."""
    person: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Columns that identify a person, each with the fields that have the same value in the answers of the API, by which
    `windrow erase` finds a person; empty if no record is about one. Attributes of ``person_items`` may be there too."""
    person_items: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Tables of DynamoDB with items about persons, each with the attributes that identify one."""
    partition: ClassVar[str] = ""
    """Column of kind DATE that has a folder for each day in the landing; empty for none. Set it only if Athena queries
    the landing by day: many small files are slow to load and to read."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make a stream, if it can be read.

        :raises TypeError: it overrides neither `raw_rows` nor `records`.
        """
        if cls.raw_rows is Stream.raw_rows and cls.records is Stream.records:
            raise TypeError(f"{cls.__name__} must override 'raw_rows' or 'records'")
        return super().__new__(cls)

    def __init_subclass__(cls) -> None:
        if cls.paging is not None and cls.next_page is not Stream.next_page:
            raise TypeError(f"{cls.__name__} declares 'paging' and overrides 'next_page'; remove one of them")
        if cls.paging is not None and cls.export is not None:
            raise TypeError(f"{cls.__name__} declares 'paging' and 'export'; remove one of them")
        if cls.conditional_requests and isinstance(cls.paging, Cursor) and cls.paging.header:
            raise TypeError(f"{cls.__name__}: a 304 has no cursor in a header, so conditional_requests must be False")

    @property
    def is_paged(self) -> bool:
        """Whether answers may have several pages, or come from an export job."""
        return self.paging is not None or self.export is not None or type(self).next_page is not Stream.next_page

    @property
    def known_fields(self) -> Mapping[str, Any]:
        """The fields that the contract knows, as a tree: a field that is read as a whole has no branches."""
        return self.contract.known_fields

    @abstractmethod
    def plan(self, request: Request) -> PlanFlow:
        """Find out what to ask for, by asking, and name it.

        :raises Unusable: what all else follows from cannot be had.
        :raises BadParameter: a parameter cannot be meant. Raised before the first query.
        """

    def estimate(self, request: Request) -> Flow[Sequence[Estimate]]:
        """Find out what a plan would take, where that can be told before all is listed; a conversation as `plan`.

        :raises BadParameter: as `plan`.
        """
        yield from ()
        return ()

    def scope(self, request: Request) -> Mapping[str, str]:
        """Say what a run is about, such as its first and last day: for the log, and for SQL files by these names.

        :raises BadParameter: a parameter cannot be meant.
        """
        return {}

    def follows_watermark(self, params: Mapping[str, object]) -> bool:
        """Say whether a run with these params begins where the last one ended; only such a run moves the mark on."""
        return True

    def reached(self, request: Request) -> str:
        """Return the watermark after a run without a record; empty if it stays, because the past may still change."""
        return ""

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Return the query for the next page of an answer; None if there is none. Override it for an unusual API.

        The answer to a query with several pages is a list of them. If it is not certain that there is a next page,
        return a `MaybePage`.

        :param query: the query of this page.
        :raises Unreadable: the page does not say clearly whether there is another.
        """
        if self.paging is None:
            return None
        page = answer.parsed_as(self.format)
        return self.paging.next_page(query, answer, page, self.paging.count(page))

    def pages(self, query: Query) -> Generator[Query | Asked, Answer, list[Answer]]:
        """Call all pages of a query in a flow, and return them: ``pages = yield from stream.pages(query)``.

        :raises Unreadable: a page does not say clearly whether there is another.
        """
        return each_page(query, self.paging, self.format, self.next_page)

    def vet(self, record: Mapping[str, object]) -> None:
        """Refuse a record of a message that keeps the contract, and that an audit would still find.

        A whole batch would fail with it, whenever it comes again.

        :raises Unreadable: it is one.
        """
        return

    def raw_rows(self, query: Query, answer: object) -> RawRows | None:
        """Return the rows of the parsed answer to a query as the API returns them, for `records` and for landing.

        A stream overrides this, or `records`, or both. Landing reads rows column by column, which is fast. `records`
        decides about each answer in which a value does not match the contract, or for which this raises an error.

        :returns: None if the stream has only records.
        :raises Unreadable: the answer is not what the API promises.
        """
        return None

    def one_row_each(self, queries: Sequence[Query], answers: Sequence[object]) -> RawRows | None:
        """Return the rows of several parsed answers that have one row each, for landing. It is faster than `raw_rows`.

        :returns: objects without constants, in the order of the answers; None if `raw_rows` has to read each answer.
        """
        return None

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Return the records in the parsed answer to a query, checked by the contract.

        :raises Unreadable: the answer is not what the API promises.
        """
        rows = self.raw_rows(query, answer)
        if rows is None:
            raise TypeError(f"{type(self).__name__}.raw_rows returned None, and 'records' is not overridden")
        return list(map(self.contract.record, rows))

    def read(self, query: Query, answer: object) -> tuple[Sequence[dict[str, object]], Sequence[Unreadable]]:
        """Return the `records` of an answer, and an error for each one that is left out. Most streams leave none out.

        The errors go into the quarantine beside the answer, and are gaps on the receipt.

        :raises Unreadable: as `records`.
        """
        return self.records(query, answer), ()


def read_some(rows: Iterable[T], read: Callable[[T], R]) -> tuple[list[R], list[Unreadable]]:
    """Read rows one by one, as `read_each`.

    :raises Unreadable: no row can be read, so the answer is at fault, and not a row.
    """
    records, errors = read_each(rows, read)
    if errors and not records:
        raise errors[0]
    return records, errors


def read_each(rows: Iterable[T], read: Callable[[T], R]) -> tuple[list[R], list[Unreadable]]:
    """Read rows one by one; return what could be read, and an error for each of the others."""
    records: list[R] = []
    errors: list[Unreadable] = []
    for row in rows:
        try:
            records.append(read(row))
        except Unreadable as error:
            errors.append(error)
    return records, errors
