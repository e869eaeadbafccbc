"""The simulations of docs/scale.md at a small size: what workers share is used up, and by all of them."""

from benchmarks.scale import metered, paced, pooled
from windrow.model.quota import Period, Quota


def test_workers_use_all_of_a_rate_and_no_more() -> None:
    """A thirtieth stays unused on purpose. A worker once claimed turns that it did not use, which others missed."""
    found = paced(10, rate_per_s=500, connections=40, seconds=12)

    assert 480 <= found.calls <= 500 / 1.03 + 1
    assert found.most <= 1.25 * found.least


def test_workers_that_claim_more_often_than_the_store_can_answer_go_on() -> None:
    """They want some 330 claims a second of 200. Each once had to move the end of the line alone, and none did."""
    found = paced(60, rate_per_s=800, connections=10, seconds=8, busy_s=0.005)

    assert found.calls >= 500
    assert found.least > 0


def test_workers_share_the_blocks_of_a_quota() -> None:
    found = metered(10, quota=Quota("all", Period.of("minute"), 60_000, ("/",)), connections=10, seconds=4)

    assert 190 <= found.calls <= 210
    assert found.first_s < 1
    assert found.least > 0


def test_owners_of_a_pool_are_used_alike_and_no_part_is_left() -> None:
    even = pooled(4, 8, calls=16_000, limit=5_000)
    odd = pooled(4, 8, calls=16_000, limit=5_000, spent=2)

    assert (even.most, even.least) == (2_000, 2_000)
    assert odd.least == 0
    assert odd.hours < 1, "the others did the parts of the worker whose owners are used up"
