"""Filling a gap, against an API whose answers are written down here."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest

from tests.scripted_api import Reply, ScriptedApi
from tests.unit.flow import NOON
from windrow.http.auth import StaticToken
from windrow.http.client import Client, Limits
from windrow.model.errors import Misconfigured
from windrow.model.policy import Backoff
from windrow.sources.x.publisher.gap import Found, Spoiled, fill
from windrow.sources.x.streams import POLICY, SEARCH_DAYS, SEARCH_SLACK, SEARCH_WORDS, made_at, post_id_at

IDS = [str(post_id_at(NOON) + number) for number in range(4)]
LIMITS = Limits(patience_s=0.0, backoff=Backoff(attempts=1, base_s=0.01, cap_s=0.01))
"""A call is not tried again within itself, so that what comes again comes from the filling."""


def page(*posts: Any, following: str = "") -> Reply:
    return Reply({
        "data": posts,
        "meta": {"result_count": len(posts)} | ({"next_token": following} if following else {}),
    })


def post(number: int) -> dict[str, str]:
    return {"id": IDS[number], "text": f"tesla {number}", "author_id": "42"}


def filled(api: ScriptedApi, since: timedelta = timedelta(hours=-1)) -> list[Found | Spoiled]:
    async def gather() -> list[Found | Spoiled]:
        async with Client(api.url, StaticToken("token"), policy=POLICY, limits=LIMITS) as client:
            told = fill(client, {"cars": "tesla"}, NOON + since, NOON, now=NOON, pause_s=0.01)
            return [one async for one in told]

    return asyncio.run(gather())


def found(told: list[Found | Spoiled]) -> list[object]:
    return [one.record["post_id"] for one in told if isinstance(one, Found)]


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(status=429, headers={"Retry-After": "1"}),
        Reply(status=429),
        Reply(status=503),
        Reply("no JSON"),
    ],
    ids=["429 with its end", "429", "503", "no JSON"],
)
def test_a_page_that_is_not_given_is_asked_for_again_and_none_before_it(scripted: ScriptedApi, trouble: Reply):
    scripted.answers(page(post(0), following="two"), trouble, page(post(1)))

    assert found(filled(scripted)) == IDS[:2]
    tokens = [dict(asked.params).get("next_token") for asked in scripted.asked]
    assert tokens == [None, "two", "two"]


def test_one_post_that_cannot_be_read_is_told_and_the_others_are_there(scripted: ScriptedApi):
    scripted.answers(page(post(0), {"id": IDS[1]}, 7, post(2)))

    told = filled(scripted)

    assert found(told) == [IDS[0], IDS[2]]
    spoiled = [one for one in told if isinstance(one, Spoiled)]
    assert [one.reason for one in spoiled] == ["field 'text' is missing", "a post must be a JSON object"]
    assert IDS[1].encode() in spoiled[0].post


@pytest.mark.parametrize(("status", "calls"), [(400, len(SEARCH_WORDS)), (404, 1)])
def test_a_refusal_says_that_the_watermark_waits(scripted: ScriptedApi, status: int, calls: int):
    scripted.script = lambda asked: Reply({"detail": "bad query"}, status)

    with pytest.raises(Misconfigured, match="It retries the gap"):
        filled(scripted)
    assert len(scripted.asked) == calls


def test_the_search_is_asked_in_its_own_words_first_and_each_post_has_the_rule(scripted: ScriptedApi):
    scripted.answers(page(post(0)))

    (one,) = filled(scripted)

    assert isinstance(one, Found)
    assert one.record["rules"] == "cars"
    assert "post.fields" in dict(scripted.asked[0].params)


@pytest.mark.parametrize(
    "instead",
    [Reply({"title": "Invalid Request"}, 400), page({"id": IDS[0], "text": "no author"})],
    ids=["refused", "no authors"],
)
def test_other_words_are_tried_where_the_walk_is(scripted: ScriptedApi, instead: Reply):
    scripted.answers(page(post(0), following="two"), instead, instead, page(post(1)))

    assert found(filled(scripted)) == IDS[:2]
    asked = [dict(call.params) for call in scripted.asked]
    assert ["tweet.fields" in params for params in asked] == [False, False, True, False]
    assert ["expansions" in params for params in asked] == [False, False, False, True]
    assert [params.get("next_token") for params in asked] == [None, "two", "two", "two"]


def test_posts_without_authors_are_kept_if_no_words_bring_them(scripted: ScriptedApi):
    scripted.script = lambda asked: page({"id": IDS[0], "text": "no author"})

    assert found(filled(scripted)) == [IDS[0]]


def test_a_gap_that_the_search_does_not_reach_is_filled_from_where_it_begins(
    scripted: ScriptedApi, caplog: pytest.LogCaptureFixture
):
    scripted.answers(page(post(0)))

    filled(scripted, timedelta(days=-9))

    begin = made_at(dict(scripted.asked[0].params)["since_id"])
    assert abs(begin - (NOON - timedelta(days=SEARCH_DAYS) + SEARCH_SLACK)) < timedelta(seconds=1)
    assert "Posts older than 7 days are lost" in caplog.text


def test_a_gap_within_reach_is_not_called_lost(scripted: ScriptedApi, caplog: pytest.LogCaptureFixture):
    scripted.answers(page())

    assert filled(scripted, timedelta(days=-6)) == []
    assert "lost" not in caplog.text


def test_pages_without_an_end_stop_it_before_the_gap_counts_as_filled(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windrow.sources.x.publisher.gap.MOST_PAGES", 3)
    numbers = itertools.count()
    scripted.script = lambda asked: page(post(0), following=f"next {next(numbers)}")
    with pytest.raises(
        Misconfigured, match=r"the search for the rule 'tesla': there are more than 3 pages.*Split the rule"
    ):
        filled(scripted)
    assert len(scripted.asked) == 3


def test_pages_in_a_circle_stop_it_too(scripted: ScriptedApi):
    scripted.answers(page(post(0), following="again"))
    with pytest.raises(Misconfigured, match="which was called before"):
        filled(scripted)
    assert len(scripted.asked) == 2
