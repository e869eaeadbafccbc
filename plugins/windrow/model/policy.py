"""Policy as data: which action follows an answer, and which retry follows an error.

There are two tables. The client uses ``ResponsePolicy`` for every answer of an API; a source may add its own rules,
which have precedence, and define how to read the API's error details. ``TASK_POLICY`` is used when an Airflow task
fails.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from windrow.model import errors
from windrow.model.response import Response


class Action(StrEnum):
    """What the client does with an answer."""

    ACCEPT = "accept"
    """Read and stage the answer."""
    RETRY = "retry"
    """Retry after a pause: the longer of the backoff and the API's Retry-After."""
    THROTTLE = "throttle"
    """As RETRY, and pause all other calls for the same time."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The quota is used up. Another credential signs the call, if there is one. Otherwise the harvest stops, and the
    task defers until the quota is reset."""
    REFRESH = "refresh"
    """The API did not accept the token: get a new one and retry."""
    DENY = "deny"
    """The account is not allowed to call the API. Stop the harvest at once; all answers so far are staged."""
    MISSING = "gap"
    """The API answers that it does not exist. This is recorded as a gap, and not called again in this run."""
    FORBID = "forbid"
    """The credential has no permission. One other credential is tried, if there is one; otherwise as REFUSE."""
    REFUSE = "refuse"
    """The API rejects this query. It goes into the quarantine with the API's answer; the other queries continue."""


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """The error details of an API's answer: the API's name for the reason, and the seconds to wait."""

    reason: str = ""
    wait_s: float | None = None


_NO_DETAIL = ErrorDetail()


def _by_retry_after(response: Response) -> ErrorDetail:
    wait_s = response.retry_after_s
    return _NO_DETAIL if wait_s is None else ErrorDetail(wait_s=wait_s)


@dataclass(frozen=True, slots=True)
class ResponseRule:
    """``action`` for statuses ``first`` to ``last``, both included; only with this ``reason``, if it is set."""

    first: int
    last: int
    action: Action
    why: str
    reason: str = ""


def on(status: int, action: Action, why: str, *, reason: str = "") -> ResponseRule:
    """Make the rule for one status, optionally only with one reason."""
    return ResponseRule(status, status, action, why, reason)


@dataclass(frozen=True, slots=True)
class Decision:
    """The action for a response, and the seconds that the API asks to wait, if any."""

    action: Action
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class ResponsePolicy:
    """Rules in order; the first that matches the status and the reason is used. Without a match the action is REFUSE.

    ``complaint`` reads the error details of a response: many APIs use one status for a used-up quota, too many
    calls and a missing permission, and show the difference in the body or in a header. The default only reads
    Retry-After.
    """

    rules: tuple[ResponseRule, ...]
    error_detail: Callable[[Response], ErrorDetail] = _by_retry_after

    def judge(self, response: Response) -> Decision:
        """Return what to do with a response. A call without a response is retried."""
        if response.status is None:
            return Decision(Action.RETRY)
        error_detail = self.error_detail(response)
        for rule in self.rules:
            if rule.first <= response.status <= rule.last and (not rule.reason or rule.reason == error_detail.reason):
                return Decision(rule.action, error_detail.wait_s)
        return Decision(Action.REFUSE, error_detail.wait_s)

    def preceded_by(
        self, *rules: ResponseRule, error_detail: Callable[[Response], ErrorDetail] | None = None
    ) -> "ResponsePolicy":
        """Return this policy with rules of a source before its own, and with the source's ``complaint``."""
        return ResponsePolicy(rules + self.rules, error_detail or self.error_detail)


HTTP_POLICY = ResponsePolicy((
    ResponseRule(200, 299, Action.ACCEPT, "success"),
    on(401, Action.REFRESH, "the token is invalid or has expired; a new one usually helps"),
    on(403, Action.FORBID, "this credential has no permission; another one may have it"),
    on(404, Action.MISSING, "not found"),
    on(410, Action.MISSING, "gone: it no longer exists"),
    on(408, Action.RETRY, "request timeout"),
    on(425, Action.RETRY, "too early"),
    on(429, Action.THROTTLE, "too many calls; the limit applies to all calls, so all calls pause"),
    on(500, Action.RETRY, "internal server error"),
    on(502, Action.RETRY, "bad gateway"),
    on(503, Action.RETRY, "service unavailable; Retry-After may say for how long"),
    on(504, Action.RETRY, "gateway timeout"),
    ResponseRule(520, 599, Action.RETRY, "a server error reported by a CDN"),
))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter.

    The pause before attempt n+1 is random, from 0 to ``base_s * 2**(n-1)``, at most ``cap_s``. Full jitter
    spreads the retries of clients that failed at the same time; see M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015.
    """

    base_s: float = 0.1
    cap_s: float = 20.0
    attempts: int = 8
    """Maximum attempts of a call. Attempts that hit a rate limit do not count."""

    def pause_s(self, failures: int) -> float:
        """Return a random pause, in seconds, after the ``failures``-th failure in a row (1, 2, ...)."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))
        return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class TaskRule:
    """For this type of error the Airflow task retries after ``delay``, or fails at once if ``delay`` is None."""

    error: type[Exception]
    delay: timedelta | None
    why: str


TASK_POLICY: tuple[TaskRule, ...] = (
    TaskRule(errors.Misconfigured, None, "a person must change a setting first"),
    TaskRule(errors.NothingToHarvest, None, "the API lists nothing; a retry would not change that"),
    TaskRule(errors.CountsDisagree, None, "a retry would count the same"),
    TaskRule(errors.CheckFailed, None, "a retry would give the same result"),
    TaskRule(errors.StatementFailed, None, "the SQL statement or its table must be fixed first"),
    TaskRule(errors.PlanMissing, None, "the task 'plan' must run first"),
    TaskRule(errors.ManifestMissing, None, "the task 'land' must run again first"),
    TaskRule(errors.GivenUp, None, "the task 'enqueue' must run again first"),
    TaskRule(errors.QueryRefused, None, "the API rejects this query as invalid"),
    TaskRule(errors.ApiUnreachable, timedelta(seconds=60), "the API may be restarting"),
    TaskRule(errors.LoginRejected, None, "a person must set the right user and password first"),
    TaskRule(errors.StagingUnavailable, timedelta(seconds=30), "MongoDB may be restarting"),
    TaskRule(errors.Unwritten, timedelta(seconds=30), "the next try writes all items again"),
    TaskRule(errors.Unanswered, timedelta(seconds=30), "the next try makes only the missing calls"),
)
"""The first match is used. `windrow.model.cloud_policy` is for the errors of cloud services. All others use ``retries``
and the growing ``retry_delay`` of the task."""
