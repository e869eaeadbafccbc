"""What `windrow.store.status.StatusStore` returns, as plain data. Times are ISO texts in UTC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Quarantined answers of one run with one reason."""

    dataset: str
    run_id: str
    reason: str
    status: int
    count: int
    oldest: str
    newest: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One answer in the quarantine. Its body is not read: it can be large, and hold personal data."""

    dataset: str
    run_id: str
    key: str
    reason: str
    status: int
    fetched_at: str
    in_plan: bool


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """The present window of a quota. ``taken`` units are used or reserved by a running task."""

    account: str
    name: str
    taken: int
    ends_at: str
    closed: bool
    """Whether the API has said that the window is used up."""


@dataclass(frozen=True, slots=True)
class Paused:
    """An API that asked to wait, and has not answered a call since."""

    conn_id: str
    times: int
    since: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """An API to which a person stopped all calls."""

    conn_id: str
    by: str
    at: str
    note: str


@dataclass(frozen=True, slots=True)
class Size:
    """How many documents there are, and their bytes before MongoDB compresses them."""

    documents: int
    octets: int


@dataclass(frozen=True, slots=True)
class Snoozed:
    """An alert that nobody gets until a time."""

    cause: str
    by: str
    until: str


@dataclass(frozen=True, slots=True)
class AcceptedGap:
    """A query whose gap a person accepted."""

    key: str
    by: str
    at: str
    note: str


@dataclass(frozen=True, slots=True)
class Found:
    """A query with this key in one run. ``state`` is answered, gap, quarantined or open (planned, no answer yet)."""

    dataset: str
    run_id: str
    key: str
    state: str
    status: int | None
    fetched_at: str
    reason: str = ""
    chunk: int = -1
    """The number of the chunk of the plan that has the query; -1 if none has."""
