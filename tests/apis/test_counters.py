"""The counters, against what a client of a known behaviour did."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead, RemoteDisconnected

import aiohttp
import pytest

from local_cloud.apis.testing import FakeApi

LIST, BY_NAME, TOKEN = "GET /get_user_list", "GET /get_user_by_name", "POST /oauth/token"


def test_each_kind_of_answer_is_counted(api: FakeApi, token: str, names: list[str]) -> None:
    one, two, garbled, gone = names[:4]
    api.faults(sticky={garbled: "malformed", gone: "missing_field"})
    api.get("/get_user_list", token)
    for name in (one, one, one, two, garbled, garbled, gone, "Nobody"):
        api.get("/get_user_by_name", token, name=name)
    api.get("/get_user_by_name", "unknown-token", name=one)
    api.get("/get_user_by_name", token)
    assert api.counters()["routes"][BY_NAME] == {
        "requests": 10,
        "by_status": {"200": 7, "400": 1, "401": 1, "404": 1},
        "unique": 5,
        "repeated": 4,
        "ok": 4,
        "repeated_ok": 2,
        "refused_401": 1,
        "cut": 0,
        "abandoned": 0,
        "malformed": 2,
        "missing_field": 1,
        "in_flight": 0,
        "max_in_flight": 1,
    }
    totals = api.counters()["totals"]
    assert (totals["requests"], totals["unique"], totals["ok"]) == (11, 6, 5)


def test_detail_tells_how_often_each_name_was_asked_and_served(api: FakeApi, token: str, names: list[str]) -> None:
    api.get("/get_user_by_name", token, name=names[0])
    api.get("/get_user_by_name", "unknown-token", name=names[0])
    route = api.counters(detail=True)["routes"][BY_NAME]
    assert route["asked"] == {names[0]: 2}
    assert route["served"] == {names[0]: 1}
    assert "asked" not in api.counters()["routes"][BY_NAME]


def test_tokens_are_counted_apart_from_api_calls(api: FakeApi) -> None:
    api.token()
    api.token()
    api.post("/oauth/token", {"grant_type": "client_credentials", "client_id": "wrong"})
    counters = api.counters()
    assert counters["tokens_issued"] == 2
    assert counters["routes"][TOKEN]["by_status"] == {"200": 2, "401": 1}
    assert counters["totals"]["requests"] == 0


def test_a_refusal_of_the_http_server_itself_is_counted(api: FakeApi) -> None:
    assert api.post("/oauth/token", {"grant_type": "x" * 2_000_000}).status == 413
    assert api.counters()["routes"][TOKEN]["by_status"] == {"413": 1}


def test_reset_zeroes_everything(api: FakeApi, token: str) -> None:
    fresh = api.counters(detail=True)
    api.token()
    api.get("/get_user_list", token)
    assert api.counters(detail=True) != fresh
    api.reset()
    assert api.counters(detail=True) == fresh


def test_admin_routes_are_not_counted(api: FakeApi) -> None:
    before = api.counters()
    api.request("GET", "/_admin/health")
    assert api.counters() == before


async def _wait_for_in_flight(api: FakeApi, wanted: int) -> None:
    async with asyncio.timeout(5):
        while (await asyncio.to_thread(api.counters))["totals"]["in_flight"] != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_calls_in_flight_are_counted_now_and_at_most(api: FakeApi, token: str, names: list[str]) -> None:
    async def scenario() -> None:
        api.faults(latency_ms=1000)
        async with aiohttp.ClientSession(api.url, headers={"Authorization": f"Bearer {token}"}) as session:
            calls = [session.get("/get_user_by_name", params={"name": name}) for name in names[:7]]
            answers = asyncio.gather(*calls)
            await _wait_for_in_flight(api, 7)
            for answer in await answers:
                assert answer.status == 200
                answer.release()
        totals = api.counters()["totals"]
        assert (totals["in_flight"], totals["max_in_flight"], totals["ok"]) == (0, 7, 7)

    asyncio.run(scenario())


def test_a_client_that_hangs_up_is_counted_as_such(api: FakeApi, token: str, names: list[str]) -> None:
    async def scenario() -> None:
        api.faults(latency_ms=60_000)
        async with aiohttp.ClientSession(api.url, headers={"Authorization": f"Bearer {token}"}) as session:
            call = asyncio.create_task(session.get("/get_user_by_name", params={"name": names[0]}).__aenter__())
            await _wait_for_in_flight(api, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await _wait_for_in_flight(api, 0)
        totals = api.counters()["totals"]
        assert (totals["requests"], totals["abandoned"], totals["by_status"]) == (1, 1, {})

    asyncio.run(scenario())


def test_a_reset_keeps_calls_in_flight(api: FakeApi, token: str, names: list[str]) -> None:
    async def scenario() -> None:
        api.faults(latency_ms=1000)
        async with aiohttp.ClientSession(api.url, headers={"Authorization": f"Bearer {token}"}) as session:
            call = asyncio.gather(session.get("/get_user_by_name", params={"name": names[0]}))
            await _wait_for_in_flight(api, 1)
            api.reset()
            (answer,) = await call
            answer.release()
        route = api.counters()["routes"][BY_NAME]
        assert (route["requests"], route["by_status"], route["in_flight"]) == (1, {"200": 1}, 0)
        assert route["max_in_flight"] == 1

    asyncio.run(scenario())


def test_every_request_ends_as_one_thing(api: FakeApi, token: str, names: list[str]) -> None:
    api.faults(
        latency_ms=1,
        error_share=0.1,
        throttle_share=0.1,
        unauthorized_share=0.1,
        cut_share=0.2,
        malformed_share=0.1,
        missing_field_share=0.1,
    )

    def ask(name: str) -> str:
        # not with aiohttp: it silently repeats a GET whose connection breaks, so it makes more calls
        try:
            return str(api.get("/get_user_by_name", token, name=name).status)
        except (RemoteDisconnected, IncompleteRead):
            return "cut"

    with ThreadPoolExecutor(16) as threads:
        seen = list(threads.map(ask, names[:300]))
    totals = api.counters()["totals"]
    assert totals["cut"] == seen.count("cut") > 20
    assert totals["by_status"] == {status: seen.count(status) for status in sorted(set(seen) - {"cut"})}
    assert totals["requests"] == 300 == sum(totals["by_status"].values()) + totals["cut"]
    assert totals["ok"] + totals["malformed"] + totals["missing_field"] == totals["by_status"]["200"]
    assert totals["max_in_flight"] <= 16
