"""What an owner may still call: windows, minutes and pauses."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from windrow.http.owner_limits import OwnerLimits, TokenBucket
from windrow.model.rate_limits import LimitWindow


def test_pauses_that_do_not_help_grow() -> None:
    account = OwnerLimits()

    def held_s(wait_s: float) -> float:
        now = account.held_until
        account.hold(wait_s, now)
        return account.held_until - now

    assert [held_s(60) for _ in range(8)] == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    assert held_s(5_000) == 5_000, "what the API asks for is never cut"
    account.hold(60, account.held_until - 1)
    account.answered(account.held_until - 1)
    assert account.holds == 9, "calls that were under way before the pause tell nothing of it"
    account.answered(account.held_until)
    assert held_s(60) == 60


CORE = "core"


@given(st.permutations(range(90, 100)), st.floats(-1.5, 1.5))
def test_answers_that_overtake_one_another_never_raise_what_is_left(order: list[int], jitter_s: float) -> None:
    account = OwnerLimits()
    for place, remaining in enumerate(order):
        account.observe(CORE, LimitWindow(100, remaining, 5_000.0 + jitter_s * (place % 2)))
        assert account.windows[CORE].remaining == min(order[: place + 1])
    account.observe(CORE, LimitWindow(100, 100, 4_000.0))
    assert account.windows[CORE].remaining == 90, "a late answer of the window before"
    account.observe(CORE, LimitWindow(100, 99, 8_600.0))
    assert account.windows[CORE].remaining == 99


@given(st.lists(st.tuples(st.integers(0, 150), st.floats(0, 100)), max_size=5), st.sampled_from([60.0, 600.0]))
def test_no_minute_has_more_points_than_allowed(spells: list[tuple[int, float]], per_minute: float) -> None:
    """Somebody takes points as fast as may be, with pauses, and at last for two minutes."""
    allowance, now, taken = TokenBucket(per_minute), 1_000.0, []
    for points, pause_s in [*spells, (int(2 * per_minute), 0.0)]:
        for _ in range(points):
            now = max(now, allowance.ready_at(now))
            allowance.take(now)
            taken.append(now)
        now += pause_s
    for place, start in enumerate(taken):
        assert bisect_left(taken, start + 59.999) - place <= per_minute
