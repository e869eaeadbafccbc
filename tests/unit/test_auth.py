"""Token flows: one refresh for all, in time, and that no caller can kill."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.http.auth import NoAuth, RefreshingToken, Token
from windrow.model.errors import ApiUnreachable, CredentialsRejected
from windrow.model.policy import Backoff
from windrow.model.response import Response


async def no_post(url: str, form: Mapping[str, str], **_: object) -> Response:
    raise AssertionError("this flow posts nothing")


class Flow(RefreshingToken):
    """A token flow whose grants a test scripts. Its tokens count: t1, t2, ..."""

    def __init__(self, script: Callable[[int], Awaitable[Token]], backoff: Backoff | None = None) -> None:
        super().__init__(backoff)
        self.grants = 0
        self._script = script

    async def grant(self, post: Any) -> Token:
        self.grants += 1
        return await self._script(self.grants)

    async def sign(self) -> str:
        return (await self.signature(no_post))["Authorization"]

    async def refuse(self, authorization: str) -> None:
        await self.rejected({"Authorization": authorization}, no_post)


def token(number: int, *, refresh_in: float = 60, dies_in: float = 90) -> Token:
    now = time.monotonic()
    return Token(f"t{number}", now + refresh_in, now + dies_in)


async def long_lived(number: int) -> Token:
    await asyncio.sleep(0.01)
    return token(number)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario; nothing in it may end unheard, as asyncio would then complain into the log."""
    unheard: list[str] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context["message"]))
        async with asyncio.timeout(10):  # nobody waits for ever
            await scenario
        await asyncio.sleep(0.01)
        gc.collect(1)  # a failed task complains when it is collected; all of this is young

    asyncio.run(watched())
    assert unheard == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the code under test has no event to wait for
            await asyncio.sleep(0.001)


# --- one refresh for all -----------------------------------------------------------------------


def test_the_first_callers_share_one_grant():
    flow = Flow(long_lived)

    async def scenario() -> None:
        assert await asyncio.gather(*(flow.sign() for _ in range(100))) == ["Bearer t1"] * 100
        assert await flow.sign() == "Bearer t1"

    run(scenario())
    assert (flow.grants, flow.refreshes) == (1, 1)


def test_many_401_make_one_refresh():
    flow = Flow(long_lived)

    async def scenario() -> None:
        old = await flow.sign()
        await asyncio.gather(*(flow.refuse(old) for _ in range(100)))
        assert await flow.sign() == "Bearer t2"

    run(scenario())
    assert (flow.grants, flow.refreshes) == (2, 2)


def test_a_late_401_of_an_old_signature_makes_none():
    flow = Flow(long_lived)

    async def scenario() -> None:
        old = await flow.sign()
        await flow.refuse(old)
        await flow.refuse(old)
        assert await flow.sign() == "Bearer t2"

    run(scenario())
    assert flow.grants == 2


def test_401s_and_new_callers_join_a_refresh_under_way():
    opened = asyncio.Event()

    async def slow(number: int) -> Token:
        if number == 2:
            await opened.wait()
        return token(number, refresh_in=-1 if number == 1 else 60)

    flow = Flow(slow)

    async def scenario() -> None:
        old = await flow.sign()
        await flow.sign()  # starts the refresh
        waiting = [asyncio.create_task(flow.refuse(old)) for _ in range(20)]
        await until(lambda: flow.grants == 2)
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        opened.set()
        await asyncio.gather(*waiting)
        assert await flow.sign() == "Bearer t2"

    run(scenario())
    assert flow.grants == 2


def test_a_token_that_was_refused_signs_no_further_call():
    """A call that is signed while its 401 is being mended would only be refused too."""
    opened = asyncio.Event()

    async def slow(number: int) -> Token:
        if number == 2:
            await opened.wait()
        return token(number)

    flow = Flow(slow)

    async def scenario() -> None:
        mending = asyncio.create_task(flow.refuse(await flow.sign()))
        await until(lambda: flow.grants == 2)
        next_call = asyncio.create_task(flow.sign())
        await asyncio.sleep(0.01)
        opened.set()
        assert await next_call == "Bearer t2"
        await mending

    run(scenario())


class Pauses(Backoff):
    """Notes for which failure in a row a pause is wanted, and makes none."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "wanted", [])

    def pause_s(self, failures: int) -> float:
        self.wanted.append(failures)
        return 0.0


def test_new_tokens_that_are_refused_too_are_fetched_ever_more_slowly():
    """Else an account that lacks a right fetches a token at nearly every attempt of every call."""
    pauses = Pauses()
    flow = Flow(long_lived, pauses)

    async def scenario() -> None:
        for accepted, wanted in ((False, []), (False, [1]), (False, [1, 2]), (True, [1, 2]), (False, [1, 2, 1])):
            signed = await flow.sign()
            if accepted:
                flow.learned({"Authorization": signed}, Response(503))
            await flow.refuse(signed)
            assert pauses.wanted == wanted
        for trouble in (Response(401), Response(trouble="ConnectionResetError")):
            flow.learned({"Authorization": await flow.sign()}, trouble)
        await flow.refuse(await flow.sign())
        assert pauses.wanted == [1, 2, 1, 2], "neither is a token that was accepted"

    run(scenario())


# --- in time -----------------------------------------------------------------------------------


def test_calls_go_on_with_the_old_token_while_it_is_refreshed():
    opened = asyncio.Event()

    async def slow(number: int) -> Token:
        if number == 2:
            await opened.wait()
        return token(number, refresh_in=-1 if number == 1 else 60)

    flow = Flow(slow)

    async def scenario() -> None:
        async with asyncio.timeout(1):
            assert [await flow.sign() for _ in range(50)] == ["Bearer t1"] * 50
            await until(lambda: flow.grants == 2)
            assert await flow.sign() == "Bearer t1"
        opened.set()
        await until(lambda: flow.refreshes == 2)
        assert await flow.sign() == "Bearer t2"

    run(scenario())
    assert flow.grants == 2


def test_nobody_is_given_a_dead_token():
    async def slow(number: int) -> Token:
        await asyncio.sleep(0.02)
        return token(number, dies_in=-1) if number == 1 else token(number)

    flow = Flow(slow)

    async def scenario() -> None:
        assert await flow.sign() == "Bearer t1"  # dead on arrival: there is none better
        assert await asyncio.gather(*(flow.sign() for _ in range(50))) == ["Bearer t2"] * 50

    run(scenario())
    assert flow.grants == 2


def test_tokens_that_live_for_a_moment_are_replaced_before_they_die():
    dies_at: dict[str, float] = {}

    async def short(number: int) -> Token:
        await asyncio.sleep(0.02)
        made = Token.lasting(f"t{number}", 0.6)
        dies_at[f"Bearer t{number}"] = made.expires_at
        return made

    flow = Flow(short)

    async def scenario() -> None:
        await flow.sign()
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            asked, before = time.monotonic(), flow.refreshes
            signed = await flow.sign()
            assert flow.refreshes == before, "a call waited for a refresh though the old token lived"
            assert dies_at[signed] > asked
            await asyncio.sleep(0.005)

    run(scenario())
    assert 2 <= flow.grants <= 4  # one in each 0.45 s


@given(st.floats(0.1, 3 * 10**7))
def test_a_token_is_refreshed_in_its_last_quarter_or_its_last_minute(lifetime_s: float):
    before = time.monotonic()
    made = Token.lasting("t", lifetime_s)
    after = time.monotonic()
    slack = 1e-6 * max(1, lifetime_s)
    assert before + lifetime_s - slack <= made.expires_at <= after + lifetime_s + slack
    assert made.expires_at - made.refresh_at == pytest.approx(min(60, lifetime_s / 4), abs=slack)


# --- refreshes that fail -----------------------------------------------------------------------


def test_a_refresh_that_fails_in_the_background_is_made_up_for():
    async def second_fails(number: int) -> Token:
        if number == 2:
            raise ApiUnreachable("down", advice="Wait.")
        return token(1, refresh_in=-1, dies_in=0.5) if number == 1 else token(number)

    flow = Flow(second_fails)

    async def scenario() -> None:
        assert [await flow.sign(), await flow.sign()] == ["Bearer t1", "Bearer t1"]
        await until(lambda: flow.grants == 2)
        assert await flow.sign() == "Bearer t1", "the failure is no news while the old token lives"
        async with asyncio.timeout(5):  # at the latest when the old one dies
            while await flow.sign() != "Bearer t3":  # noqa: ASYNC110 - asking is what starts the refresh
                await asyncio.sleep(0.005)

    run(scenario())
    assert (flow.grants, flow.refreshes) == (3, 2)


def test_a_token_endpoint_that_fails_is_not_asked_again_at_every_call():
    """Else a harvest of 500 calls a second knocks as often, for a minute: accounts are locked for less."""

    async def dead(number: int) -> Token:
        if number > 1:
            raise CredentialsRejected("revoked", advice="Mend it.")
        return token(number, refresh_in=-1)

    flow = Flow(dead)

    async def scenario() -> None:
        for _ in range(200):
            assert await flow.sign() == "Bearer t1"
            await asyncio.sleep(0.001)

    run(scenario())
    assert flow.grants <= 10


def test_once_the_token_is_dead_a_failing_refresh_is_told_to_every_caller():
    async def dead(number: int) -> Token:
        await asyncio.sleep(0.01)
        if number == 1:
            return token(1, dies_in=-1)
        if number == 2:
            raise ApiUnreachable("down", advice="Wait.")
        return token(number)

    flow = Flow(dead)

    async def scenario() -> None:
        await flow.sign()
        told = await asyncio.gather(*(flow.sign() for _ in range(50)), return_exceptions=True)
        assert [type(each) for each in told] == [ApiUnreachable] * 50
        assert flow.grants == 2
        assert await flow.sign() == "Bearer t3", "a later call tries again"

    run(scenario())
    assert flow.refreshes == 2


def test_a_refresh_after_401_that_fails_is_told():
    async def second_fails(number: int) -> Token:
        if number == 2:
            raise CredentialsRejected("revoked", advice="Mend it.")
        return token(number)

    flow = Flow(second_fails)

    async def scenario() -> None:
        old = await flow.sign()
        told = await asyncio.gather(*(flow.refuse(old) for _ in range(20)), return_exceptions=True)
        assert [type(each) for each in told] == [CredentialsRejected] * 20

    run(scenario())
    assert flow.grants == 2


def test_credentials_that_were_turned_down_are_not_sent_again_by_the_calls_in_flight(monkeypatch: pytest.MonkeyPatch):
    """Their 401s come one after the other, and so would the refreshes."""

    async def second_fails(number: int) -> Token:
        if number == 2:
            raise CredentialsRejected("revoked", advice="Mend it.")
        return token(number)

    flow = Flow(second_fails)

    async def scenario() -> None:
        old = await flow.sign()
        for _ in range(20):
            with pytest.raises(CredentialsRejected):
                await flow.refuse(old)
            with pytest.raises(CredentialsRejected):
                await flow.sign()
        assert flow.grants == 2
        later = time.monotonic() + 60.0
        monkeypatch.setattr("windrow.http.auth.time", SimpleNamespace(monotonic=lambda: later))
        assert await flow.sign() == "Bearer t3", "a long-lived process learns that the consent is back"

    run(scenario())


# --- callers that give up ----------------------------------------------------------------------


@pytest.mark.parametrize("cancelled", [1, 5, 10])
def test_a_cancelled_caller_does_not_take_the_refresh_away_from_the_others(cancelled: int):
    opened = asyncio.Event()

    async def slow(number: int) -> Token:
        await opened.wait()
        return token(number)

    flow = Flow(slow)

    async def scenario() -> None:
        callers = [asyncio.create_task(flow.sign()) for _ in range(10)]
        await until(lambda: flow.grants == 1)
        for caller in callers[:cancelled]:
            caller.cancel()
        await asyncio.sleep(0)
        late = asyncio.create_task(flow.sign())
        await asyncio.sleep(0)
        opened.set()
        assert await asyncio.gather(*callers[cancelled:], late) == ["Bearer t1"] * (11 - cancelled)
        assert all(caller.cancelled() for caller in callers[:cancelled])

    run(scenario())
    assert flow.grants == 1


def test_a_refresh_that_fails_after_all_callers_gave_up_makes_no_noise():
    opened = asyncio.Event()

    async def fails(number: int) -> Token:
        await opened.wait()
        raise ApiUnreachable("down", advice="Wait.")

    flow = Flow(fails)

    async def scenario() -> None:
        callers = [asyncio.create_task(flow.sign()) for _ in range(3)]
        await until(lambda: flow.grants == 1)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        callers.clear()
        opened.set()

    run(scenario())


def test_a_flow_outlives_its_event_loop():
    async def first_hangs(number: int) -> Token:
        if number == 1:
            await asyncio.Event().wait()
        return token(number)

    flow = Flow(first_hangs)

    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flow.sign(), 0.01)

    async def tries_again() -> None:
        async with asyncio.timeout(1):
            assert await flow.sign() == "Bearer t2"

    run(gives_up())
    run(tries_again())  # a harvest that deferred goes on in a new loop


# --- no tokens at all --------------------------------------------------------------------------


def test_no_auth_signs_nothing_and_cannot_mend_a_401():
    async def scenario() -> None:
        auth = NoAuth()
        assert await auth.signature(no_post) == {}
        with pytest.raises(CredentialsRejected, match="token_path"):
            await auth.rejected({}, no_post)
        assert auth.refreshes == 0

    run(scenario())
