"""What can go wrong, as one tree. Every error says what happened, to what, and what to do about it.

::

    WindrowError
    ├── Misconfigured             a person must change something first: never retried
    │   ├── BadParameter              a DAG parameter that cannot be meant
    │   │   ├── NothingFound              a name that the API does not know
    │   │   └── Ambiguous                 a name that the API knows several of
    │   ├── ConnectionUnusable        the Airflow connection lacks or garbles a field
    │   └── CredentialsRejected       the API's token endpoint, or the API, turned the credentials down
    ├── NothingToHarvest          the API lists nothing: never retried, the warehouse keeps what it has
    ├── CheckFailed               data that is not as it has to be: never retried, what reads it keeps the old
    ├── CountsDisagree            planned, staged, exported, loaded and merged are not one number
    ├── ApiError                  one call, or the API as a whole
    │   ├── ApiUnreachable            no answer at all: retried
    │   ├── Unusable                  one query has no answer to go on with; the others are not concerned
    │   │   ├── QueryRefused              the API says this call is wrong: never retried
    │   │   │   └── NotGiven                  the API has no such thing, or gives it to nobody: a gap
    │   │   └── Unreadable                an answer that cannot be read: in the quarantine before it is raised
    │   ├── RateLimited               the API says when to come back: the task defers until then
    │   ├── GivenUp                   calls that a queue has stopped trying: never retried by waiting again
    │   └── Unanswered                calls that stayed without an answer after all attempts: retried
    ├── BrokerUnavailable         Redis cannot be reached, or has lost a stream: the run goes on from MongoDB
    ├── StatementFailed           an SQL file that the warehouse cannot run: never retried
    ├── Unwritten                 a database took some items and not all: retried, items are replaced whole
    ├── StagingUnavailable        MongoDB cannot be reached, or refuses: retried
    ├── Interrupted               the task was asked to stop: what was answered is staged
    ├── PlanMissing               a run without a whole plan: the task 'plan' has to run first
    └── ManifestMissing           landed files without the manifest that vouches for them

The policy that turns these into Airflow's retry decisions is data: ``windrow.model.policy.TASK_POLICY``.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from windrow.model.redact import blot


class WindrowError(Exception):
    """Base of all errors raised on purpose. ``advice`` says what the person who reads it can do.

    Known secrets are blotted out of both, whatever text they were made of.
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
    """Nothing will work until a person changes a setting."""


class BadParameter(Misconfigured):
    """A DAG parameter is unknown or has a value that cannot be meant."""


class NothingFound(BadParameter):
    """The API knows nothing of this name, or of this id."""


class Ambiguous(BadParameter):
    """The API knows several of this name. ``candidates`` are their ids."""

    def __init__(self, what: str, *, advice: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(what, advice=advice)
        self.candidates = tuple(candidates)


class ConnectionUnusable(Misconfigured):
    """An Airflow connection lacks a field, or holds one that cannot be used."""


class CredentialsRejected(Misconfigured):
    """The token endpoint or the API itself turned the credentials down for good."""


class NothingToHarvest(WindrowError):
    """The API answered, but listed nothing to ask for."""


class CheckFailed(WindrowError):
    """Data is not as it has to be."""


class StatementFailed(WindrowError):
    """The warehouse could not run a statement."""


class CountsDisagree(WindrowError):
    """The receipt does not add up."""


class Unwritten(WindrowError):
    """A database took some of what was to be written, and not all."""


class StagingUnavailable(WindrowError):
    """MongoDB cannot be reached, or refuses an operation."""


class BrokerUnavailable(WindrowError):
    """Redis cannot be reached, or does not hold the stream of a run any more."""


class Interrupted(WindrowError):
    """The harvest was asked to stop before its end."""


class PlanMissing(WindrowError):
    """A run has no plan, or one that was not written to its end."""


class ManifestMissing(WindrowError):
    """Files were landed without a manifest, so nothing vouches that they are complete."""


class ApiError(WindrowError):
    """Trouble with the API. ``key`` names the query, ``status`` the HTTP status, where there is one."""

    def __init__(self, what: str, *, advice: str, key: str | None = None, status: int | None = None) -> None:
        super().__init__(what, advice=advice)
        self.key = key
        self.status = status


class ApiUnreachable(ApiError):
    """The API gives no answer at all: refused, unresolved, timed out or cut, on every attempt."""


class Unusable(ApiError):
    """One query has no answer to go on with. That says nothing of the others."""


class QueryRefused(Unusable):
    """The API says that the call itself is wrong. Sending it again cannot help."""


class NotGiven(QueryRefused):
    """The API has no such thing, or gives it to nobody. Where it is planned it is a gap."""


class RateLimited(ApiError):
    """The API asks to stay away until ``retry_at`` (aware, UTC), longer than a call should wait in place."""

    def __init__(self, what: str, *, advice: str, retry_at: datetime, key: str | None = None) -> None:
        super().__init__(what, advice=advice, key=key, status=429)
        self.retry_at = retry_at

    @classmethod
    def for_s(cls, pause_s: float, why: str, *, key: str | None = None) -> "RateLimited":
        """Make the error for a pause of so many seconds from now; ``why`` says who wants it, or what is spent."""
        retry_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        at = f" at {key!r}" if key else ""
        return cls(
            f"{why}{at}: {pause_s:,.0f} s, until {retry_at:%Y-%m-%d %H:%M:%S} UTC.",
            advice="Nothing: what is answered is staged, and the task goes on by itself at that time.",
            retry_at=retry_at,
            key=key,
        )


class Unanswered(ApiError):
    """Some calls stayed without an answer after all their attempts. All other answers are staged."""


class GivenUp(ApiError):
    """A queue has stopped trying some calls. All other answers are staged."""


class Unreadable(Unusable):
    """An answer arrived but cannot be read. ``reason`` says what was expected, and goes into the quarantine record."""

    def __init__(self, reason: str, *, key: str | None = None, received: str = "") -> None:
        named, begins = f" to {key!r}" if key else "", f". Received: {received[:80]!r}" if received else ""
        super().__init__(
            f"The answer{named} cannot be read: {reason}{begins}",
            advice="Look at it in the quarantine (docs/operations.md). The next try asks for it again.",
            key=key,
            status=200,
        )
        self.reason = blot(reason)
