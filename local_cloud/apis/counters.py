"""What the fake APIs were asked and what they answered: the evidence a test holds against a client."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from local_cloud.apis.endpoint import Endpoint

Flaw = Literal["malformed", "missing_field"]
"""Why an answer with status 200 is of no use."""


@dataclass
class Tally:
    """The counts of one route.

    Complete answers are in `by_status`; a call that got none was cut by us or abandoned by its client. So
    `requests` is always the sum of `by_status`, `cut`, `abandoned` and `in_flight`.
    """

    requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    """How often each key was asked for."""
    served: Counter[str] = field(default_factory=Counter)
    """How often each key was answered with a whole and right 200."""
    cut: int = 0
    abandoned: int = 0
    malformed: int = 0
    missing_field: int = 0
    in_flight: int = 0
    max_in_flight: int = 0

    def begin(self, key: str | None) -> int:
        """Count a request; return how often its key was asked so far, this time included."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if key is None:
            return self.requests
        self.asked[key] += 1
        return self.asked[key]

    def answered(self, key: str | None, status: int, flaw: Flaw | None) -> None:
        """Count an answer that was sent whole; `flaw` tells what is wrong with it."""
        self.by_status[status] += 1
        self.malformed += flaw == "malformed"
        self.missing_field += flaw == "missing_field"
        if status == 200 and flaw is None and key is not None:
            self.served[key] += 1

    def report(self, *, detail: bool) -> dict[str, Any]:
        """Give the counts as JSON; `detail` adds how often each key was asked for and served."""
        counts = _summary([self]) | {"max_in_flight": self.max_in_flight}
        return counts | {"asked": dict(self.asked), "served": dict(self.served)} if detail else counts


@dataclass
class Crowd:
    """How many calls are in flight, and how many were at most."""

    now: int = 0
    most: int = 0

    def enter(self) -> None:
        """Count a call as in flight."""
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self) -> None:
        """Count a call as over."""
        self.now -= 1

    def reset(self) -> None:
        """Forget the most there were; a call in flight stays one."""
        self.most = self.now


class Counters:
    """The tallies of the routes of one API, and what is counted across them. `everywhere` counts other APIs too."""

    def __init__(self, everywhere: Crowd) -> None:
        self.tokens_issued = 0
        self.tallies: dict[Endpoint, Tally] = {}
        self.crowd = Crowd()
        self._everywhere = everywhere

    def add(self, endpoint: Endpoint) -> None:
        """Count this route from now on."""
        self.tallies[endpoint] = Tally()

    def of(self, endpoint: Endpoint) -> Tally:
        """Give the tally of a route. Don't keep it: a reset puts another in its place."""
        return self.tallies[endpoint]

    def begin(self, endpoint: Endpoint, key: str | None) -> int:
        """Count a request and give its `nth`, see Tally.begin; every begin needs its `end`."""
        if not endpoint.issues_tokens:
            self.crowd.enter()
            self._everywhere.enter()
        return self.tallies[endpoint].begin(key)

    def end(self, endpoint: Endpoint) -> None:
        """Count a request as over."""
        if not endpoint.issues_tokens:
            self.crowd.leave()
            self._everywhere.leave()
        self.tallies[endpoint].in_flight -= 1

    def reset(self) -> None:
        """Zero the counts. A call in flight stays one: a request whose answer is still to be counted."""
        self.tokens_issued = 0
        self.crowd.reset()
        for endpoint, tally in self.tallies.items():
            now = tally.in_flight
            self.tallies[endpoint] = Tally(requests=now, in_flight=now, max_in_flight=now)


def report(parts: Sequence[Counters], crowd: Crowd, *, detail: bool = False) -> dict[str, Any]:
    """Give all counts as JSON: `totals` over the API routes, every route, and the tokens issued."""
    tallies = {endpoint: tally for part in parts for endpoint, tally in part.tallies.items()}
    api_tallies = [tally for endpoint, tally in tallies.items() if not endpoint.issues_tokens]
    return {
        "totals": _summary(api_tallies) | {"max_in_flight": crowd.most},
        "tokens_issued": sum(part.tokens_issued for part in parts),
        "routes": {endpoint.name: tally.report(detail=detail) for endpoint, tally in tallies.items()},
    }


def _repeats(times: Iterable[int]) -> int:
    return sum(count - 1 for count in times)


def _summary(tallies: list[Tally]) -> dict[str, Any]:
    by_status: Counter[int] = Counter()
    for tally in tallies:
        by_status.update(tally.by_status)
    return {
        "requests": sum(tally.requests for tally in tallies),
        "by_status": {str(status): count for status, count in sorted(by_status.items())},
        "unique": sum(len(tally.asked) for tally in tallies),
        "repeated": sum(_repeats(tally.asked.values()) for tally in tallies),
        "ok": sum(tally.served.total() for tally in tallies),
        "repeated_ok": sum(_repeats(tally.served.values()) for tally in tallies),
        "refused_401": by_status[401],
        "cut": sum(tally.cut for tally in tallies),
        "abandoned": sum(tally.abandoned for tally in tallies),
        "malformed": sum(tally.malformed for tally in tallies),
        "missing_field": sum(tally.missing_field for tally in tallies),
        "in_flight": sum(tally.in_flight for tally in tallies),
    }
