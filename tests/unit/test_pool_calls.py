"""A pool of credentials against a server: limits as it tells them, and refusals of a credential, a query, or a pair."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.http.auth import StaticToken
from windrow.http.client import Client, Limits
from windrow.http.pool import Credential, TokenPool
from windrow.model.answer import Answer, Rejected
from windrow.model.errors import RateLimited
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.rate_limits import RateLimits, stated
from windrow.model.response import Response

Script = Callable[[str, Asked], Reply]
ITEMS = [Query.of(f"/items/{number}") for number in range(40)]


def harvest(
    api: ScriptedApi,
    script: Script,
    queries: Sequence[Query] = ITEMS,
    *,
    tokens: str = "ab",
    allowed: RateLimits | None = None,
    reserved: float = 0.0,
    at_once: int = 4,
) -> list[Answer | Rejected]:
    """Ask all queries with a pool of tokens; the script gets the token that signed."""
    api.script = lambda asked: script((asked.signature or "").removeprefix("Bearer "), asked)

    async def asking() -> list[Answer | Rejected]:
        pool = TokenPool(
            [Credential(StaticToken(token), f"token {token}") for token in tokens],
            rate_limits=allowed,
            patience_s=3,
            reserved=reserved,
        )
        gate = asyncio.Semaphore(at_once)
        limits = Limits(patience_s=3, backoff=Backoff(0.001, 0.002, 3))
        async with Client(api.url, pool, name="shop", limits=limits) as client:

            async def one(query: Query) -> Answer | Rejected:
                async with gate:
                    return await client.ask(query, lambda *_: None)

            return await asyncio.gather(*map(one, queries))

    return asyncio.run(asking())


def calls(api: ScriptedApi) -> Counter[str]:
    """Count the calls of each token."""
    return Counter((asked.signature or "").removeprefix("Bearer ") for asked in api.asked)


def told(limit: object, remaining: object, reset: object, status: int = 200) -> Reply:
    headers = {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    return Reply({}, status, {name: str(value) for name, value in headers.items()})


def answered(settled: list[Answer | Rejected]) -> int:
    return sum(isinstance(one, Answer) for one in settled)


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_status_path_that_does_not_answer_costs_no_credential(scripted: ScriptedApi, status: int):
    def script(token: str, asked: Asked) -> Reply:
        return Reply({}, status) if asked.path == "/limits" else Reply()

    assert answered(harvest(scripted, script, allowed=RateLimits(status="/limits"))) == 40
    assert set(calls(scripted)) == {"a", "b"}


def test_without_a_status_path_none_is_asked(scripted: ScriptedApi):
    assert answered(harvest(scripted, lambda token, asked: Reply())) == 40
    assert {asked.path for asked in scripted.asked} == {query.path for query in ITEMS}


def test_of_an_exhausted_credential_the_others_make_the_calls(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        return told(500, 0, 3600, 429) if token == "a" else told(500, 500 - calls(scripted)["b"], 3600)

    assert answered(harvest(scripted, script, ITEMS[:12])) == 12
    assert calls(scripted)["a"] <= 1
    assert calls(scripted)["b"] == 12


@pytest.mark.parametrize("status", [200, 404])
def test_what_is_exhausted_is_left_alone_whatever_the_answer_was(scripted: ScriptedApi, status: int):
    def script(token: str, asked: Asked) -> Reply:
        return told(500, 0, 3600, status) if token == "a" else told(500, 400, 3600)

    harvest(scripted, script, at_once=1)
    assert calls(scripted) == {"a": 1, "b": 39}


def test_a_limit_of_one_call_is_waited_for_without_a_busy_loop(scripted: ScriptedApi):
    ends_at = [0.0]

    def script(token: str, asked: Asked) -> Reply:
        ends_at[0] = time.time() + 1
        return told(1, 0, ends_at[0])

    spent_s = time.process_time()
    assert answered(harvest(scripted, script, ITEMS[:2], tokens="a")) == 2
    assert time.time() >= ends_at[0] - 1
    assert time.process_time() - spent_s < 0.5, "it waits two seconds"


@pytest.mark.parametrize(
    ("limits", "headers", "left_s"),
    [
        (RateLimits(), {"X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "90"}, 90),
        (RateLimits(), {"X-Rate-Limit-Limit": "9", "X-Rate-Limit-Remaining": "3", "X-Rate-Limit-Reset": "@s"}, 90),
        (RateLimits(), {"X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "@ms"}, 90),
        (RateLimits(), {"RateLimit-Limit": "9", "RateLimit-Remaining": "3", "RateLimit-Reset": "90"}, 90),
        (RateLimits(), {"RateLimit": "limit=9, remaining=3, reset=90"}, 90),
        (RateLimits(), {"RateLimit": '"default";r=3;t=90', "RateLimit-Policy": '"default";q=9;w=3600'}, 90),
        (stated(RateLimits(), {"headers": ["Most", "Left", "Ends"]}), {"Most": "9", "Left": "3", "Ends": "90"}, 90),
        (
            stated(RateLimits(), {"headers": ["Most", "Left", "Ends"], "reset_unit": "milliseconds"}),
            {"Most": "9", "Left": "3", "Ends": "90000"},
            90,
        ),
        (RateLimits(), {"X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "soon"}, 60),
    ],
)
def test_limits_are_read_in_every_unit(limits: RateLimits, headers: dict[str, str], left_s: float):
    ends_at = time.time() + 90
    instants = {"@s": str(int(ends_at)), "@ms": str(int(ends_at * 1000))}
    window = limits.told_by(
        Response(200, b"", {name: instants.get(text, text) for name, text in headers.items()}).headers
    )
    assert window is not None
    assert (window.limit, window.remaining) == (9, 3)
    assert window.reset_at - time.time() == pytest.approx(left_s, abs=2)


def test_headers_that_cannot_be_read_tell_nothing():
    assert RateLimits().told_by({"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "some"}) is None
    assert RateLimits().told_by({"X-RateLimit-Remaining": "7"}) is None


def test_a_reserved_share_is_left_to_others(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        return told(100, 100 - len(scripted.asked), 3600)

    many = [Query.of(f"/items/{number}") for number in range(90)]
    with pytest.raises(RateLimited):
        harvest(scripted, script, many, tokens="a", reserved=0.4)
    assert 50 <= len(scripted.asked) <= 60
    scripted.asked.clear()
    assert answered(harvest(scripted, script, many, tokens="a")) == 90


# --- refusals ----------------------------------------------------------------------------------

SUSPENDED = Reply({"message": "Sorry. Your account was suspended."}, 403)
NO_ACCESS = Reply({"message": "Resource not accessible by personal access token"}, 403)


def test_a_credential_that_is_refused_everything_leaves_and_no_query_is_lost(
    scripted: ScriptedApi, caplog: pytest.LogCaptureFixture
):
    many = [Query.of(f"/items/{number}") for number in range(66)]
    settled = harvest(scripted, lambda token, asked: SUSPENDED if token == "a" else Reply(), many, tokens="abc")
    assert answered(settled) == 66
    assert calls(scripted)["a"] <= 10 + 4
    assert "token a of 'api' was removed from the pool (2 left)" in caplog.text
    assert "Your account was suspended" in caplog.text


def test_what_only_one_credential_may_read_is_read_by_it_and_remembered(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        return NO_ACCESS if asked.path == "/private" and token == "a" else Reply()

    pages = [Query.of("/private", {"page": str(number)}) for number in range(5)]
    assert answered(harvest(scripted, script, [*pages, *ITEMS], at_once=1)) == 45
    assert len([asked for asked in scripted.asked if asked.path == "/private"]) == 6, "its reader is asked first"
    assert calls(scripted) == {"a": 41, "b": 5}, "nobody has left"


def test_what_two_credentials_may_not_read_is_refused_and_soon_without_a_second_call(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        return NO_ACCESS if asked.path.startswith("/private") else Reply()

    private = [Query.of(f"/private/{number}") for number in range(10)]
    settled = harvest(scripted, script, [*private, *ITEMS], tokens="abc", at_once=1)
    assert [type(one) for one in settled] == [Rejected] * 10 + [Answer] * 40
    assert len(scripted.asked) == 40 + 3 * 2 + 7, "three were tried twice"
    assert "Resource not accessible" in settled[0].reason


def test_refusals_of_several_kinds_are_counted_apart(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        if asked.path.startswith("/saml") and token == "a":
            return Reply({"message": "Resource protected by organization SAML enforcement."}, 403)
        return NO_ACCESS if asked.path.startswith("/private") else Reply()

    private = [Query.of(f"/private/{number}") for number in range(5)]
    saml = [Query.of(f"/saml/{number}") for number in range(2)]
    settled = harvest(scripted, script, [*private, *saml], at_once=1)
    assert [type(one) for one in settled] == [Rejected] * 5 + [Answer] * 2


def test_a_single_credential_is_not_asked_twice(scripted: ScriptedApi):
    settled = harvest(scripted, lambda token, asked: NO_ACCESS, ITEMS[:3], tokens="a")
    assert all(isinstance(one, Rejected) for one in settled)
    assert len(scripted.asked) == 3


def test_who_stands_by_signs_only_what_the_pool_is_refused(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        return NO_ACCESS if asked.path == "/private" and token == "a" else Reply()

    async def asking() -> list[Answer | Rejected]:
        own, other = ([Credential(StaticToken(token), token)] for token in "ab")
        async with Client(scripted.url, TokenPool(own, stand_by=other), name="shop") as client:
            queries = [Query.of("/private"), *ITEMS[:5]]
            return [await client.ask(query, lambda *_: None) for query in queries]

    scripted.script = lambda asked: script((asked.signature or "").removeprefix("Bearer "), asked)
    assert answered(asyncio.run(asking())) == 6
    assert calls(scripted) == {"a": 6, "b": 1}


def test_the_lists_of_one_private_repository_cost_no_credential(scripted: ScriptedApi):
    def script(token: str, asked: Asked) -> Reply:
        return NO_ACCESS if asked.path.startswith("/private") and token == "a" else Reply()

    private = [Query.of(f"/private/{name}") for name in ("contributors", "stargazers", "forks")]
    assert answered(harvest(scripted, script, [*private, *ITEMS], at_once=1)) == 43
    assert calls(scripted) == {"a": 43, "b": 3}
