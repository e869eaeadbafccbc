"""The two tables of policy, and the backoff."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.model import errors
from windrow.model.policy import (
    HTTP_POLICY,
    TASK_POLICY,
    Action,
    Backoff,
    Decision,
    ErrorDetail,
    ResponsePolicy,
    ResponseRule,
    on,
)
from windrow.model.response import Response

ACTIONS = {
    Action.ACCEPT: [200, 201, 204, 299],
    Action.REFRESH: [401],
    Action.MISSING: [404, 410],
    Action.RETRY: [408, 425, 500, 502, 503, 504, 520, 522, 529, 599],
    Action.THROTTLE: [429],
    Action.FORBID: [403],
    Action.REFUSE: [100, 301, 302, 304, 307, 400, 402, 405, 409, 413, 422, 451, 501, 505, 511],
}


def judged(policy: ResponsePolicy, status: int) -> Action:
    """What a policy does with an answer of this status that says nothing else."""
    return policy.judge(Response(status)).action


@pytest.mark.parametrize(
    ("status", "action"), [(status, action) for action, statuses in ACTIONS.items() for status in statuses]
)
def test_every_status_has_its_action(status: int, action: Action):
    assert judged(HTTP_POLICY, status) is action


def test_an_answer_that_never_came_is_asked_for_again():
    assert HTTP_POLICY.judge(Response(trouble="TimeoutError")) == Decision(Action.RETRY)


def test_by_default_the_wait_is_that_of_retry_after():
    assert HTTP_POLICY.judge(Response(503, headers={"Retry-After": "7"})) == Decision(Action.RETRY, 7.0)
    assert HTTP_POLICY.judge(Response(503)) == Decision(Action.RETRY, None)


@given(st.integers())
def test_a_status_that_no_rule_holds_is_refused(status: int):
    held = any(rule.first <= status <= rule.last for rule in HTTP_POLICY.rules)
    assert held or judged(HTTP_POLICY, status) is Action.REFUSE


def test_no_rule_is_hidden_by_one_before_it():
    assert [judged(HTTP_POLICY, rule.first) for rule in HTTP_POLICY.rules] == [
        rule.action for rule in HTTP_POLICY.rules
    ]
    assert all(rule.first <= rule.last and rule.why for rule in HTTP_POLICY.rules)


def test_the_first_rule_that_holds_the_status_decides():
    policy = ResponsePolicy((on(418, Action.MISSING, "x"), ResponseRule(400, 499, Action.RETRY, "y")))
    assert [judged(policy, status) for status in (399, 400, 418, 499, 500)] == [
        Action.REFUSE, Action.RETRY, Action.MISSING, Action.RETRY, Action.REFUSE
    ]  # fmt: skip


def test_a_source_puts_its_own_rules_in_front_and_leaves_the_others():
    own = HTTP_POLICY.preceded_by(on(403, Action.THROTTLE, "too many, in this API's words"), on(404, Action.RETRY, "y"))
    assert (judged(own, 403), judged(own, 404)) == (Action.THROTTLE, Action.RETRY)
    assert (judged(HTTP_POLICY, 403), judged(HTTP_POLICY, 404)) == (Action.FORBID, Action.MISSING)
    others = set(range(100, 600)) - {403, 404}
    assert all(judged(own, status) is judged(HTTP_POLICY, status) for status in others)


def word(response: Response) -> ErrorDetail:
    """Read a complaint that is the body's only word."""
    return ErrorDetail(response.body.decode(), 60.0 if response.body == b"spent" else None)


def test_a_reason_tells_answers_of_one_status_apart():
    own = HTTP_POLICY.preceded_by(
        on(403, Action.QUOTA_EXHAUSTED, "the day's quota", reason="spent"),
        on(403, Action.THROTTLE, "too fast", reason="fast"),
        error_detail=word,
    )
    assert own.judge(Response(403, b"spent")) == Decision(Action.QUOTA_EXHAUSTED, 60.0)
    assert own.judge(Response(403, b"fast")) == Decision(Action.THROTTLE)
    assert own.judge(Response(403, b"forbidden")) == Decision(Action.FORBID)
    assert own.judge(Response(403)) == Decision(Action.FORBID)
    assert own.judge(Response(500, b"spent")) == Decision(Action.RETRY, 60.0)


def test_rules_put_in_front_keep_the_reading_of_those_before():
    own = HTTP_POLICY.preceded_by(on(403, Action.QUOTA_EXHAUSTED, "x", reason="spent"), error_detail=word)
    assert own.preceded_by(on(400, Action.MISSING, "y")).judge(Response(403, b"spent")) == Decision(
        Action.QUOTA_EXHAUSTED, 60.0
    )


# --- backoff -----------------------------------------------------------------------------------


@given(
    st.floats(0.001, 10),
    st.floats(0.001, 1_000),
    st.integers(1, 10) | st.integers(1, 10**9),
)
def test_a_pause_is_never_longer_than_the_cap_or_the_doubled_base(base_s: float, cap_s: float, failures: int):
    pause_s = Backoff(base_s, cap_s).pause_s(failures)
    assert 0 <= pause_s <= cap_s
    assert pause_s <= base_s * 2.0 ** min(failures - 1, 1_000)


@pytest.mark.parametrize(("failures", "ceiling_s"), [(1, 0.1), (2, 0.2), (4, 0.8), (8, 12.8), (9, 20.0), (50, 20.0)])
def test_pauses_fill_the_whole_range(failures: int, ceiling_s: float):
    drawn = [Backoff().pause_s(failures) for _ in range(500)]
    assert min(drawn) < 0.1 * ceiling_s
    assert 0.9 * ceiling_s < max(drawn) <= ceiling_s
    assert len(set(drawn)) > 400


# --- errors to retries -------------------------------------------------------------------------


def test_no_task_rule_is_hidden_by_one_before_it():
    for place, rule in enumerate(TASK_POLICY):
        assert not [earlier for earlier in TASK_POLICY[:place] if issubclass(rule.error, earlier.error)]
        assert rule.why


def test_delays_are_short_enough_to_wait_for_and_long_enough_to_help():
    delays = [rule.delay for rule in TASK_POLICY if rule.delay is not None]
    assert delays
    assert all(timedelta(seconds=10) <= delay <= timedelta(minutes=10) for delay in delays)


def test_the_table_does_what_the_drawn_tree_says():
    """The tree in the docstring of `windrow.model.errors` says of some errors whether they are retried."""
    drawn = dict(re.findall(r"[├└]── (\w+) +(.+)", errors.__doc__ or ""))
    decided = {rule.error.__name__: rule.delay for rule in TASK_POLICY}
    told = {name: text for name, text in drawn.items() if "retried" in text}
    assert len(told) > 4
    for name, text in told.items():
        assert name in decided, f"{name} is said to be '{text}', and the table does not know it"
        assert (decided[name] is None) == ("never retried" in text)


@pytest.mark.parametrize("error", [errors.RateLimited, errors.Interrupted, errors.Unreadable, ValueError])
def test_other_errors_follow_the_settings_of_the_task(error: type[Exception]):
    assert not [rule for rule in TASK_POLICY if issubclass(error, rule.error)]
