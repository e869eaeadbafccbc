"""Errors say what happened and what to do, and arrive whole in another process."""

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from windrow.model import errors
from windrow.model.errors import ApiError, RateLimited, Unreadable, WindrowError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WindrowError)]


def make(kind: type[WindrowError]) -> WindrowError:
    """Make an error with every argument that its kind takes."""
    offered: dict[str, Any] = {
        "advice": "Mend it.",
        "key": "a?b=c",
        "status": 503,
        "retry_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    takes = inspect.signature(kind).parameters
    return kind("It broke", **{name: value for name, value in offered.items() if name in takes})


def test_the_drawn_tree_is_the_tree_of_classes():
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"( {4}[│ ]*(?:[├└]── )?)([A-Z]\w+)(?: {2,}\w|$)", line):
            depth, name = len(found[1]), found[2]
            above = [entry for entry in above if entry[0] < depth]
            drawn[name] = above[-1][1] if above else "Exception"
            above.append((depth, name))
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in ALL if kind.__base__}


@pytest.mark.parametrize("kind", ALL)
def test_an_error_says_what_happened_and_what_to_do(kind: type[WindrowError]):
    error = make(kind)
    assert "It broke" in error.what
    assert str(error) == f"{error.what} | What to do: {error.advice}"
    assert error.advice


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("trip", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])  # noqa: S301 - our own
def test_an_error_arrives_whole_in_another_process(kind: type[WindrowError], trip: Any):
    error = make(kind)
    error.add_note("a note")
    arrived = trip(error)
    assert type(arrived) is kind
    assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("kind", ALL)
def test_no_error_without_advice(kind: type[WindrowError]):
    if kind is not Unreadable:  # its advice is always the same
        with pytest.raises(TypeError, match="advice"):
            kind("It broke")  # type: ignore[call-arg]


def test_errors_carry_their_evidence():
    error = ApiError("It broke", advice="Mend it.", key="a?b=c", status=500)
    assert (error.key, error.status) == ("a?b=c", 500)
    retry_at = datetime(2026, 1, 2, tzinfo=UTC)
    limit = RateLimited("Too many", advice="Wait.", retry_at=retry_at, key="a")
    assert (limit.key, limit.status, limit.retry_at) == ("a", 429, retry_at)
    unreadable = Unreadable("invalid JSON", key="a")
    assert (unreadable.reason, unreadable.key) == ("invalid JSON", "a")
    assert "invalid JSON" in str(unreadable)


def test_a_rate_limit_says_who_asks_for_how_long_and_until_when():
    limit = RateLimited.for_s(7_200, "The API 'titanic'", key="a?b=c")
    assert abs(limit.retry_at - datetime.now(UTC) - timedelta(hours=2)) < timedelta(seconds=5)
    for words in ("The API 'titanic'", "7,200 s", f"{limit.retry_at:%Y-%m-%d %H:%M}", "UTC", "'a?b=c'"):
        assert words in limit.what
    assert (limit.key, limit.status) == ("a?b=c", 429)
    assert " at " not in RateLimited.for_s(60, "The API 'titanic'").what
