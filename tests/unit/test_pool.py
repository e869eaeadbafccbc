"""The pool: which token signs, what is learned from answers, and when all are used up."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from windrow.http.auth import Exchange, RefreshingToken, StaticToken, Token
from windrow.http.pool import Credential, TokenPool, identity
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited, WindrowError
from windrow.model.query import Query
from windrow.model.rate_limits import LimitWindow, RateLimits
from windrow.model.response import Response

LATER = 3_600
CORE, GRAPHQL = "core", "graphql"
LIMITS = RateLimits(
    resource_header="X-RateLimit-Resource",
    resources={"*/graphql": GRAPHQL},
    status="/rate_limit",
    status_at="resources",
    concurrency=90,
)
USER = Query.of("/user/1")


class Limits:
    """Answers /rate_limit: what is left by token, or a status."""

    def __init__(self, **left: int) -> None:
        self.left = left
        self.asked: list[str] = []

    async def __call__(
        self, url: str, form: Any = None, *, headers: Mapping[str, str] | None = None, method: str = "POST"
    ) -> Response:
        token = (headers or {})["Authorization"].split()[-1]
        self.asked.append(token)
        left = self.left[token]
        if left < 0:
            return Response(-left)
        each = {"limit": 1_000, "remaining": left, "reset": int(time.time()) + LATER}
        return Response(200, orjson.dumps({"resources": {CORE: each, GRAPHQL: each, "search": {}}}))


def pool(*tokens: str, owners: Mapping[str, str] | None = None, **settings: Any) -> TokenPool:
    credentials = [Credential(StaticToken(token), f"token {token}", (owners or {}).get(token, "")) for token in tokens]
    return TokenPool(credentials, name="github", **{"rate_limits": LIMITS, "patience_s": 0.05} | settings)


def told(remaining: int, reset_s: float = LATER, resource: str = CORE, status: int = 200) -> Response:
    """An answer with the headers of the limits."""
    return Response(status, b"", {
        "X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(time.time() + reset_s)), "X-RateLimit-Resource": resource,
    })  # fmt: skip


async def sign(auth: TokenPool, post: Limits, times: int = 1, prefer: str = "") -> list[str]:
    """Sign calls that are not answered, and return the tokens."""
    return [(await auth.signature(post, prefer=prefer))["Authorization"].split()[-1] for _ in range(times)]


def header(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_each_call_takes_the_token_with_the_most_left() -> None:
    async def check() -> None:
        auth, limits = pool("a", "b", "c"), Limits(a=100, b=103, c=0)
        assert await sign(auth, limits, 5) == ["b", "b", "b", "a", "b"]
        assert sorted(limits.asked) == ["a", "b", "c"], "each was asked once"
        auth.learned(header("b"), told(40))
        assert await sign(auth, limits, 2) == ["a", "a"]

    asyncio.run(check())


def test_tokens_of_one_owner_are_one_account() -> None:
    async def check() -> None:
        auth = pool("a", "b", "c", owners={"a": "ada", "b": "ada"})
        limits = Limits(a=20, b=20, c=16)
        assert await sign(auth, limits, 6) == ["a", "a", "a", "a", "a", "c"]

    asyncio.run(check())


def test_calls_under_way_are_waited_for_before_a_window_counts_as_used_up() -> None:
    async def check() -> None:
        auth, limits = pool("a"), Limits(a=12)
        assert await sign(auth, limits, 2) == ["a", "a"]  # and ten are the margin
        third = asyncio.create_task(auth.signature(limits))
        await asyncio.sleep(0.02)
        assert not third.done()
        auth.learned(header("a"), Response(trouble="cut"))  # it may not have been counted, as it was not
        assert await asyncio.wait_for(third, 1) == header("a")
        for _ in range(2):
            auth.learned(header("a"), told(10))
        with pytest.raises(RateLimited, match="rate limits of all 1 tokens of 'github' are used up") as limited:
            await auth.signature(limits)
        assert abs(limited.value.retry_at.timestamp() - time.time() - LATER) < 3

    asyncio.run(check())


def test_a_window_that_has_ended_is_full_again() -> None:
    async def check() -> None:
        auth, limits = pool("a", patience_s=5), Limits(a=500)
        assert await sign(auth, limits) == ["a"]
        auth.learned(header("a"), told(499))
        auth._members[0].limits.windows[CORE] = LimitWindow(1_000, 0, time.time() - 0.8)
        began = time.time()
        assert await sign(auth, limits, 3) == ["a"] * 3
        assert 0.1 < time.time() - began < 1

    asyncio.run(check())


def test_a_refusal_holds_its_owner_back_and_no_other() -> None:
    async def check() -> None:
        auth, limits = pool("a", "b"), Limits(a=900, b=100)
        assert await sign(auth, limits) == ["a"]
        auth.learned(header("a"), Response(403))
        assert auth.throttled(header("a"), 600.0, USER)
        assert await sign(auth, limits, 3) == ["b"] * 3
        for _ in range(3):
            auth.learned(header("b"), told(97))
        auth.throttled(header("b"), 60, USER)
        with pytest.raises(RateLimited) as limited:
            await auth.signature(limits)
        assert 50 < limited.value.retry_at.timestamp() - time.time() <= 60, "the earlier of the two"

    asyncio.run(check())


def test_bad_tokens_leave_and_the_last_one_takes_all_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        auth, limits = pool("aaa-secret", "b", "c"), Limits(**{"aaa-secret": -401, "b": 50, "c": -500})
        assert await sign(auth, limits) == ["b"], "the others are tried only when there is nothing better"
        await auth.rejected(header("b"), limits)
        assert await sign(auth, limits) == ["aaa-secret"]
        await auth.rejected(header("aaa-secret"), limits)
        assert await sign(auth, limits) == ["c"]
        with pytest.raises(CredentialsRejected, match="has no valid token"):
            await auth.rejected(header("c"), limits)

    asyncio.run(check())
    assert "token aaa-secret of 'github' was removed" in caplog.text, "its label is named"


class App(RefreshingToken):
    """Has tokens app1, app2, ..., or trouble."""

    def __init__(self, *troubles: WindrowError, lasting_s: float = 3_600) -> None:
        super().__init__()
        self._troubles = list(troubles)
        self._lasting_s = lasting_s

    async def grant(self, post: Exchange) -> Token:
        if self._troubles:
            raise self._troubles.pop(0)
        return Token.lasting(f"app{self.refreshes + 1}", self._lasting_s)


def with_app(app: App, *tokens: str) -> TokenPool:
    credentials = [Credential(app, "the app"), *(Credential(StaticToken(token), token) for token in tokens)]
    return TokenPool(credentials, name="github", rate_limits=LIMITS, patience_s=0.05)


NO_ANSWER = ApiUnreachable("no answer", advice="wait")


def test_an_app_whose_new_tokens_are_turned_down_too_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        auth, limits = with_app(App(), "b"), Limits(app1=900, b=800)
        assert await sign(auth, limits, 2) == ["app1", "app1"]
        for _ in range(2):  # two calls under way with one token tell no more than one
            auth.learned(header("app1"), told(899, status=403))
            await auth.rejected(header("app1"), limits, "HTTP 403 Resource not accessible")
        assert await sign(auth, limits) == ["app2"]
        auth.learned(header("app2"), told(898, status=403))
        await auth.rejected(header("app2"), limits, "HTTP 403 Resource not accessible")
        assert await sign(auth, limits) == ["b"]

    asyncio.run(check())
    assert "the app of 'github' was removed from the pool (1 left)" in caplog.text
    assert "HTTP 403 Resource not accessible" in caplog.text


def test_an_app_whose_tokens_end_early_now_and_then_stays() -> None:
    async def check() -> None:
        auth, limits = with_app(App()), Limits(app1=900)
        for number in range(1, 5):
            assert await sign(auth, limits, 2) == [f"app{number}"] * 2
            auth.learned(header(f"app{number}"), told(900 - number))
            auth.answered(header(f"app{number}"), USER)
            auth.learned(header(f"app{number}"), Response(401))
            await auth.rejected(header(f"app{number}"), limits, "HTTP 401")

    asyncio.run(check())


@pytest.mark.parametrize("step_s", [-172_800, 172_800])
def test_a_step_of_the_clock_ends_or_extends_no_pause(monkeypatch: pytest.MonkeyPatch, step_s: int) -> None:
    real = time.time

    async def check() -> None:
        auth, limits = pool("a", patience_s=5), Limits(a=500)
        await sign(auth, limits)
        auth.learned(header("a"), told(499))
        auth.throttled(header("a"), 0.2, USER)
        monkeypatch.setattr(time, "time", lambda: real() + step_s)
        began = time.monotonic()
        await sign(auth, limits)
        assert 0.1 < time.monotonic() - began < 3
        auth.learned(header("a"), told(0))
        with pytest.raises(RateLimited) as limited:
            await auth.signature(limits)
        assert abs(limited.value.retry_at - datetime.now(UTC) - timedelta(seconds=LATER)) < timedelta(seconds=3)

    asyncio.run(check())


def test_others_sign_while_an_app_gets_no_token() -> None:
    async def check() -> None:
        for trouble, pause_s in ((NO_ANSWER, 60), (RateLimited.for_s(500, "too many tokens"), 500)):
            auth = with_app(App(NO_ANSWER, trouble), "b")
            account = auth._members[0].limits
            account.observe(CORE, None)  # it would sign all of them
            assert await sign(auth, Limits(b=100), 3) == ["b"] * 3
            assert account.held_until - time.time() == pytest.approx(pause_s, abs=5)
            assert account.in_flight == 0

    asyncio.run(check())


def test_an_app_that_is_alone_says_why_it_gets_no_token() -> None:
    async def check() -> None:
        with pytest.raises(ApiUnreachable):
            await with_app(App(NO_ANSWER, NO_ANSWER)).signature(Limits())
        dead = with_app(App(NO_ANSWER, NO_ANSWER), "b")
        dead._members[1].limits.hold(600, time.time())
        with pytest.raises(ApiUnreachable):
            await dead.signature(Limits(b=100))

    asyncio.run(check())


def test_a_refusal_by_graphql_is_no_good_answer() -> None:
    async def check() -> None:
        auth, limits = pool("a"), Limits(a=900)
        for refusals in (1, 2):
            await sign(auth, limits)
            auth.learned(header("a"), Response(200, b'{"errors":[{"type":"RATE_LIMIT"}]}'))
            auth.throttled(header("a"), 0.01, USER)
            assert auth._members[0].limits.holds == refusals

    asyncio.run(check())


def test_when_all_have_left_each_says_why() -> None:
    async def check() -> None:
        auth, limits = pool("b", "c"), Limits(b=50, c=50)
        await sign(auth, limits, 2)
        await auth.rejected(header("c"), limits, "HTTP 401")
        with pytest.raises(CredentialsRejected) as rejected:
            await auth.rejected(header("b"), limits, "HTTP 401 Bad credentials")
        assert "token b: The API rejected the token: HTTP 401 Bad credentials" in rejected.value.what
        assert "token c: The API rejected the token: HTTP 401" in rejected.value.what

    asyncio.run(check())


def test_headers_of_a_401_are_about_nobody() -> None:
    async def check() -> None:
        auth, limits = pool("a", "b"), Limits(a=900, b=800)
        assert await sign(auth, limits) == ["a"]
        auth.learned(header("a"), told(59, status=401))
        assert await sign(auth, limits) == ["a"]

    asyncio.run(check())


def test_a_server_without_limits_is_never_used_up() -> None:
    async def check() -> None:
        auth, limits = pool("a"), Limits(a=-404)
        assert await sign(auth, limits) == ["a"], "one call tells"
        auth.learned(header("a"), Response(200))
        assert await sign(auth, limits, 50) == ["a"] * 50

    asyncio.run(check())


def test_a_preferred_token_signs_while_it_has_anything_left() -> None:
    async def check() -> None:
        auth, limits = pool("a", "b"), Limits(a=900, b=12)
        preferred = identity("Bearer b")
        assert await sign(auth, limits, 3, prefer=preferred) == ["b", "b", "a"]
        assert auth.identity(header("b")) == preferred
        assert "b" not in preferred.split()

    asyncio.run(check())


def test_graphql_and_rest_are_counted_apart() -> None:
    async def check() -> None:
        auth, limits = pool("a", "b"), Limits(a=900, b=800)
        query = Query.of("/graphql", body="{}", known_by={"page": "1"})
        first = await auth.signature(limits, query)
        auth.learned(first, told(10, resource=GRAPHQL))
        assert (await auth.signature(limits, query)) == header("b")
        assert (await auth.signature(limits, Query.of("/user/1"))) == header("a")

    asyncio.run(check())
