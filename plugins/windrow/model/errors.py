"""The errors of Windrow, as one tree. Each error says what happened, to what, and what to do.

::

    WindrowError
    ├── Misconfigured             a person must change a setting first: never retried
    │   ├── BadParameter              a DAG param is unknown or has an invalid value
    │   │   ├── NothingFound              the API does not know a name or an id
    │   │   └── Ambiguous                 the API knows several things of one name
    │   ├── SchemaConflict            a column of a table does not match the contract
    │   ├── ConnectionUnusable        a field of the Airflow connection is missing or invalid
    │   └── CredentialsRejected       the API, or its token endpoint, rejected the credentials
    ├── NothingToHarvest          the API lists nothing: never retried, the warehouse keeps its data
    ├── CheckFailed               a data check failed: never retried, the published data stays as it was
    ├── CountsDisagree            planned, staged, exported, loaded and merged counts do not agree
    ├── ApiError                  one call, or the API as a whole
    │   ├── ApiUnreachable            no answer at all: retried
    │   ├── Unusable                  one query has no usable answer; the other queries are not affected
    │   │   ├── QueryRefused              the API says that the call is invalid: never retried
    │   │   │   └── NotGiven                  the API does not have it, or gives it to nobody: counted as missing
    │   │   ├── Unreadable                an answer cannot be read: it is in the quarantine before this is raised
    │   │   └── Unanswered                no answer after all attempts, but for errors like HTTP 500: retried
    │   ├── RateLimited               the API asks for a long pause: the task defers until then
    │   │   └── CallsStopped              a person stopped all calls: the task defers, and looks every minute
    │   └── GivenUp                   a queue stopped trying some calls: never retried, waiting does not help
    ├── BrokerUnavailable         Redis cannot be reached, or lost a stream: the run continues from MongoDB
    ├── StatementFailed           the warehouse cannot run an SQL file: never retried
    ├── WarehouseBusy             the warehouse failed for a temporary reason: the settings of the task decide
    ├── Unwritten                 a database did not write all items: retried, writing again is safe
    ├── StagingUnavailable        MongoDB cannot be reached, or refuses an operation: retried
    │   └── LoginRejected             MongoDB rejects the login of a connection: never retried
    ├── Interrupted               the task was asked to stop: all answers are staged
    ├── PlanMissing               a run has no complete plan: the task 'plan' must run first
    └── ManifestMissing           landed files have no manifest, so they may be incomplete

``windrow.model.policy.TASK_POLICY`` maps these errors to retry decisions of Airflow.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from windrow.model.redact import blot


class WindrowError(Exception):
    """Base class of all errors of Windrow. ``what`` is what happened, ``advice`` is what to do.

    Known secrets are removed from both.
    """

    def __init__(self, what: str, *, advice: str) -> None:
        self.what = blot(what)
        self.advice = blot(advice)
        super().__init__(self.what)

    def __str__(self) -> str:
        return f"{self.what} | What to do: {self.advice}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling passes `args` alone and would lose the keyword arguments.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(kind: type[WindrowError], args: tuple[object, ...], state: dict[str, object]) -> WindrowError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class Misconfigured(WindrowError):
    """A person must change a setting first."""


class BadParameter(Misconfigured):
    """A DAG param is unknown or has an invalid value."""


class NothingFound(BadParameter):
    """The API does not know this name or id."""


class Ambiguous(BadParameter):
    """The API knows several things of this name. ``candidates`` are their ids."""

    def __init__(self, what: str, *, advice: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(what, advice=advice)
        self.candidates = tuple(candidates)


class ConnectionUnusable(Misconfigured):
    """A field of an Airflow connection is missing or invalid."""


class SchemaConflict(Misconfigured):
    """A table has a column that does not match the contract of its stream."""


class CredentialsRejected(Misconfigured):
    """The token endpoint or the API itself turned the credentials down for good."""


class NothingToHarvest(WindrowError):
    """The API answered, but listed nothing to ask for."""


class CheckFailed(WindrowError):
    """Data is not as it has to be."""


class StatementFailed(WindrowError):
    """The warehouse could not run a statement."""


class WarehouseBusy(WindrowError):
    """The warehouse failed a statement for a temporary reason."""


class CountsDisagree(WindrowError):
    """The counts of a receipt do not agree."""


class Unwritten(WindrowError):
    """A database did not write all items."""


class StagingUnavailable(WindrowError):
    """MongoDB cannot be reached, or refuses an operation."""


class LoginRejected(StagingUnavailable):
    """MongoDB rejects the user or the password of a connection, or the user lacks a permission."""


class BrokerUnavailable(WindrowError):
    """Redis cannot be reached, or no longer has the stream of a run."""


class Interrupted(WindrowError):
    """The harvest was asked to stop before its end."""


class PlanMissing(WindrowError):
    """A run has no plan, or its plan is incomplete."""


class ManifestMissing(WindrowError):
    """Landed files have no manifest, so they may be incomplete."""


class ApiError(WindrowError):
    """An error of an API. ``key`` is the key of the query and ``status`` the HTTP status, if there is one."""

    def __init__(self, what: str, *, advice: str, key: str | None = None, status: int | None = None) -> None:
        super().__init__(what, advice=advice)
        self.key = key
        self.status = status


class ApiUnreachable(ApiError):
    """The API gave no answer in any attempt: connection refused, host not found, timeout, or connection lost."""


class Unusable(ApiError):
    """One query has no usable answer. The other queries are not affected."""


class QueryRefused(Unusable):
    """The API says that the call is invalid. Sending it again does not help."""


class NotGiven(QueryRefused):
    """The API does not have this, or gives it to nobody. In a plan it is a gap."""


class RateLimited(ApiError):
    """The API asks for a pause until ``retry_at`` (aware, UTC) that is too long to wait inside the task."""

    def __init__(self, what: str, *, advice: str, retry_at: datetime, key: str | None = None) -> None:
        super().__init__(what, advice=advice, key=key, status=429)
        self.retry_at = retry_at

    @classmethod
    def for_s(cls, pause_s: float, why: str, *, key: str | None = None) -> "RateLimited":
        """Make the error for a pause of ``pause_s`` seconds from now; ``why`` is the reason."""
        retry_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        at = f" at {key!r}" if key else ""
        return cls(
            f"{why}{at}: {pause_s:,.0f} s, until {retry_at:%Y-%m-%d %H:%M:%S} UTC.",
            advice="No action needed: all answers are staged, and the task continues automatically at that time.",
            retry_at=retry_at,
            key=key,
        )


class CallsStopped(RateLimited):
    """A person stopped all calls to the API. At ``retry_at`` the task looks whether they may go on."""


class GivenUp(ApiError):
    """A queue has stopped trying some calls. All other answers are staged."""


class Unreadable(Unusable):
    """An answer arrived but cannot be read. ``reason`` says what was expected, and goes into the quarantine record."""

    def __init__(self, reason: str, *, key: str | None = None, received: str = "") -> None:
        named, begins = f" to {key!r}" if key else "", f". Received: {received[:80]!r}" if received else ""
        super().__init__(
            f"The answer{named} cannot be read: {reason}{begins}",
            advice="Inspect it in the quarantine (docs/operations.md). The next try asks for it again.",
            key=key,
            status=200,
        )
        self.reason = blot(reason)


class Unanswered(Unusable):
    """A call, or several, has no answer after all attempts. ``received`` is the body of the last attempt.

    All other answers are staged.
    """

    def __init__(
        self, what: str, *, advice: str, key: str | None = None, status: int | None = None, received: str = ""
    ) -> None:
        super().__init__(what, advice=advice, key=key, status=status)
        self.received = received
