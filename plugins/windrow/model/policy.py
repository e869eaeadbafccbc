"""Policy as data: which answer leads to which action, and which error to which retry.

Two tables. ``ResponsePolicy`` is read by the client for every answer of an API; a source may put its own
rules in front, and say how its API words a complaint. ``TASK_POLICY`` is read once, when an Airflow task fails.
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
    """Read it and stage it."""
    RETRY = "retry"
    """Ask again after a pause: the longer of the backoff and the API's Retry-After."""
    THROTTLE = "throttle"
    """As RETRY, and hold back every other call for the same time."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The quota is used up. Another credential signs the call, if there is one; else the harvest stops, and the
    task defers until the quota is filled again."""
    REFRESH = "refresh"
    """The token was not accepted: get a new one, sign again, ask again."""
    DENY = "deny"
    """The account may call nothing. Stop the harvest at once; what is answered is staged."""
    GAP = "gap"
    """The API knows no such thing. That is an answer: it is recorded and not asked again in this run."""
    FORBID = "forbid"
    """This credential may not read this. One other credential is tried, if there is one; else as REFUSE."""
    REFUSE = "refuse"
    """The API does not answer this query. It goes into the quarantine with the API's answer; the others go on."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an API says is the matter: its own word for it, and the seconds it wants to be left alone."""

    reason: str = ""
    wait_s: float | None = None


def _by_retry_after(response: Response) -> Complaint:
    return Complaint(wait_s=response.retry_after_s)


@dataclass(frozen=True, slots=True)
class ResponseRule:
    """Statuses ``first`` to ``last``, both included, lead to ``action``; only for that ``reason``, if it has one."""

    first: int
    last: int
    action: Action
    why: str
    reason: str = ""


def on(status: int, action: Action, why: str, *, reason: str = "") -> ResponseRule:
    """Make the rule for one status, or for one reason that an API gives with it."""
    return ResponseRule(status, status, action, why, reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a response, and the seconds that the API asks to wait, if it does."""

    action: Action
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class ResponsePolicy:
    """Rules in order; the first that holds the status, and the reason, decides. What none holds is refused.

    ``complaint`` reads what a response complains of: many APIs tell a spent quota, too many calls at once and a
    missing right by one status, and the difference by a word in the body or by a header. By default it is
    Retry-After and no word.
    """

    rules: tuple[ResponseRule, ...]
    complaint: Callable[[Response], Complaint] = _by_retry_after

    def judge(self, response: Response) -> Verdict:
        """Say what to do with a response. One that never came is worth another try."""
        if response.status is None:
            return Verdict(Action.RETRY)
        complaint = self.complaint(response)
        for rule in self.rules:
            if rule.first <= response.status <= rule.last and rule.reason in {"", complaint.reason}:
                return Verdict(rule.action, complaint.wait_s)
        return Verdict(Action.REFUSE, complaint.wait_s)

    def preceded_by(
        self, *rules: ResponseRule, complaint: Callable[[Response], Complaint] | None = None
    ) -> "ResponsePolicy":
        """Return this policy with a source's own rules in front, and its own reading of complaints."""
        return ResponsePolicy(rules + self.rules, complaint or self.complaint)


HTTP_POLICY = ResponsePolicy((
    ResponseRule(200, 299, Action.ACCEPT, "an answer"),
    on(401, Action.REFRESH, "the token died on the way; a new one usually helps"),
    on(403, Action.FORBID, "not with this credential; another one may"),
    on(404, Action.GAP, "no such thing"),
    on(410, Action.GAP, "no longer such a thing"),
    on(408, Action.RETRY, "the server gave up waiting"),
    on(425, Action.RETRY, "too early"),
    on(429, Action.THROTTLE, "too many calls: it is not this call that is too many, but all of them"),
    on(500, Action.RETRY, "an accident on the server"),
    on(502, Action.RETRY, "a proxy lost its server"),
    on(503, Action.RETRY, "busy; with Retry-After it says for how long"),
    on(504, Action.RETRY, "a proxy gave up waiting"),
    ResponseRule(520, 599, Action.RETRY, "a CDN's own words for the above"),
))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter.

    The pause before attempt n+1 is drawn evenly from 0 to ``base_s * 2**(n-1)``, at most ``cap_s``. Full jitter
    spreads clients that failed together; see M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
    Blog, 2015.
    """

    base_s: float = 0.1
    cap_s: float = 20.0
    attempts: int = 8
    """How often a call is sent before it counts as unanswered. Waiting for a rate limit does not count."""

    def pause_s(self, failures: int) -> float:
        """Draw the pause, in seconds, after the ``failures``-th failure in a row (1, 2, ...)."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))
        return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class TaskRule:
    """An error of this kind makes the Airflow task retry after ``delay``, or fail at once if that is None."""

    error: type[Exception]
    delay: timedelta | None
    why: str


TASK_POLICY: tuple[TaskRule, ...] = (
    TaskRule(errors.Misconfigured, None, "a person has to change a setting first"),
    TaskRule(errors.NothingToHarvest, None, "the API lists nothing; asking again at once will not change that"),
    TaskRule(errors.CountsDisagree, None, "counting again gives the same counts"),
    TaskRule(errors.CheckFailed, None, "checking again finds the same"),
    TaskRule(errors.StatementFailed, None, "the statement, or what it reads, has to be mended first"),
    TaskRule(errors.PlanMissing, None, "the plan has to be made first"),
    TaskRule(errors.ManifestMissing, None, "the landing has to be made again first"),
    TaskRule(errors.GivenUp, None, "the calls have to be enqueued again first"),
    TaskRule(errors.QueryRefused, None, "the API calls this query wrong"),
    TaskRule(errors.ApiUnreachable, timedelta(seconds=60), "the API may be restarting"),
    TaskRule(errors.StagingUnavailable, timedelta(seconds=30), "MongoDB may be restarting"),
    TaskRule(errors.Unwritten, timedelta(seconds=30), "the next try writes all items again"),
    TaskRule(errors.Unanswered, timedelta(seconds=30), "the next try asks only for what is missing"),
)
"""First match decides. An error of no kind listed here follows the task's own ``retries`` and delay."""
