"""What a source has to say about one of its streams. The loop that harvests it is in `windrow.harvest.engine`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, ClassVar, Self, TypeVar

from windrow.model.answer import Answer
from windrow.model.contract import Contract
from windrow.model.errors import Unreadable
from windrow.model.policy import HTTP_POLICY, ResponsePolicy
from windrow.model.query import Query
from windrow.model.quota import Quota
from windrow.model.rate_limits import RateLimits
from windrow.model.rows import Rows


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
    """

    query: Query
    read: Callable[[object], object]


T = TypeVar("T")
Flow = Generator[Query | Asked | Planned | Unreadable, Any, T]
"""How something is found out by asking. A `Query` that is yielded, or `Asked`, is asked at once, and its `Answer` is
sent back into the generator. Where there is none to go on with, an `Unusable` is thrown into it: `NotGiven` where the
API has no such thing, `QueryRefused` where it refuses, `Unreadable` where the answer is not what was promised or leads
in a circle. What can be left out, the source catches, and goes on with the others: the answer is in the quarantine.
An `Unreadable` that is yielded puts the last answer there for a part of it that is left out."""
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
    contract: ClassVar[Contract]
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
    planned_from: ClassVar[str] = ""
    """Dataset whose answers of the same run the plan is made from, without asking again; empty for none."""
    partition: ClassVar[str] = ""
    """Column of kind DATE that has a folder for each day in the landing; empty for none. Set it only if Athena queries
    the landing by day: many small files are slow to load and to read."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make a stream, if it can be read.

        :raises TypeError: it overrides neither `rows` nor `records`.
        """
        if cls.rows is Stream.rows and cls.records is Stream.records:
            raise TypeError(f"{cls.__name__} must override 'rows' or 'records'")
        return super().__new__(cls)

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

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Name the query for the next page of an answer; None where it is whole, as most are.

        The answer to a query with several pages is a JSON array of them.
        """
        return None

    def vet(self, record: Mapping[str, object]) -> None:
        """Refuse a record of a message that keeps the contract, and that an audit would still find.

        A whole batch would fail with it, whenever it comes again.

        :raises Unreadable: it is one.
        """
        return

    def rows(self, query: Query, answer: object) -> Rows | None:
        """Return the rows of the parsed answer to a query as the API returns them, for `records` and for landing.

        A stream overrides this, or `records`, or both. Landing reads rows column by column, which is fast. `records`
        decides about each answer in which a value does not match the contract, or for which this raises an error.

        :returns: None if the stream has only records.
        :raises Unreadable: the answer is not what the API promises.
        """
        return None

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Return the records in the parsed answer to a query, checked by the contract.

        :raises Unreadable: the answer is not what the API promises.
        """
        rows = self.rows(query, answer)
        if rows is None:
            raise TypeError(f"{type(self).__name__}.rows returned None, and 'records' is not overridden")
        return list(map(self.contract.record, rows))
