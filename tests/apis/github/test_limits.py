"""The limits: primary windows by owner, secondary limits, and what /_admin/github tells of them."""

import asyncio
import time

import aiohttp
import pytest

from local_cloud.apis.github.demo_tokens import POOL, SAME_OWNER
from local_cloud.apis.github.limits import CORE, Ledger
from local_cloud.apis.github.settings import Dial
from local_cloud.apis.testing import FakeApi
from tests.apis.github.conftest import Github

PATH = "/repos/tiny/one"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ledger(clock: Clock, **settings: object) -> Ledger:
    dial = Dial()
    dial.change(settings)
    return Ledger(dial, clock)


class TestWindows:
    def test_a_window_begins_with_its_first_call_and_ends_on_a_whole_second(self, clock: Clock) -> None:
        own = ledger(clock, hour_s=10, limit=3)
        assert own.window("ada", CORE).remaining == 3
        clock.now += 5
        assert own.spend("ada", CORE).reset == 1_000_016
        clock.now = 1_000_015.999
        assert own.spend("ada", CORE).used == 2
        clock.now = 1_000_016.0
        assert (own.window("ada", CORE).used, own.window("ada", CORE).reset) == (0, 1_000_026)

    def test_every_window_is_remembered(self, clock: Clock) -> None:
        own = ledger(clock, hour_s=10, limit=3)
        for calls in (3, 1):
            for _ in range(calls):
                own.spend("ada", CORE)
            clock.now += 20
        own.window("ada", CORE)
        windows = own.report()["windows"]["ada"][CORE]
        assert [(window["used"], window["limit"]) for window in windows] == [(3, 3), (1, 3)]

    def test_a_minute_is_a_sixtieth_of_an_hour(self, clock: Clock) -> None:
        own = ledger(clock, hour_s=60, points_per_minute=2)
        assert [own.spend_points("ada", "user", 1) for _ in range(3)] == [0.0, 0.0, 0.75]
        assert own.spend_points("ada", "forks", 1) == own.spend_points("ben", "user", 1) == 0.0
        clock.now += 0.75
        assert own.spend_points("ada", "user", 1) == 0.0


def test_every_answer_tells_what_is_left(github: Github) -> None:
    before = int(time.time())
    for used, path in enumerate(
        [PATH, "/repos/none/such", "/repos/gone-org/sluice", "/repos/acme/empty/contributors"], 1
    ):
        headers = github.get(path).headers
        assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Used"]) == ("5000", str(used))
        assert headers["X-RateLimit-Remaining"] == str(5_000 - used)
        assert headers["X-RateLimit-Resource"] == "core"
        assert before + 3_600 <= int(headers["X-RateLimit-Reset"]) <= time.time() + 3_602


def test_asking_for_the_limits_is_free(github: Github) -> None:
    github.get(PATH)
    for _ in range(3):
        core = github.get("/rate_limit").json()["resources"]["core"]
        assert (core["limit"], core["used"], core["remaining"]) == (5_000, 1, 4_999)
    assert github.get("/rate_limit").json()["rate"] == core


@pytest.mark.parametrize("status", [403, 429])
def test_a_window_that_is_used_up_refuses_until_it_ends(github: Github, status: int) -> None:
    github.api.github(hour_s=1, limit=3, refusal_status=status)
    for left in ("2", "1", "0"):
        assert github.get(PATH).headers["X-RateLimit-Remaining"] == left
    reply = github.get(PATH)
    assert (reply.status, reply.headers["X-RateLimit-Remaining"]) == (status, "0")
    assert reply.json()["message"].startswith("API rate limit exceeded for user ID")
    assert github.get(PATH, POOL[1]).status == 200, "another owner has a window of his own"
    counts = github.api.github()
    assert (counts["primary_refusals"], counts["secondary_refusals"]) == (1, 0)
    (window,) = counts["windows"]["octo-ada"]["core"]
    assert (window["used"], window["refused"], window["limit"]) == (3, 1, 3)
    while time.time() < int(reply.headers["X-RateLimit-Reset"]):
        time.sleep(0.02)
    assert github.get(PATH).status == 200


def test_tokens_of_one_owner_share_a_window(github: Github) -> None:
    first, second = SAME_OWNER
    github.get(PATH, first)
    assert github.get(PATH, second).headers["X-RateLimit-Used"] == "2"
    assert github.get("/rate_limit", first).json()["rate"]["used"] == 2


@pytest.mark.parametrize(
    ("shape", "words", "retry_after", "tells_limits"),
    [
        ("retry_after", "You have exceeded a secondary rate limit", True, True),
        ("abuse", "You have triggered an abuse detection mechanism", True, False),
        ("message_only", "You have exceeded a secondary rate limit", False, True),
    ],
)
def test_too_many_points_a_minute(
    github: Github, shape: str, words: str, retry_after: bool, tells_limits: bool
) -> None:
    github.api.github(points_per_minute=5, secondary_shape=shape)
    replies = [github.get(PATH) for _ in range(12)]  # at most two minutes begin meanwhile
    refused = [reply for reply in replies if reply.status == 403]
    assert len(refused) >= 2
    assert words in refused[0].json()["message"]
    assert ("Retry-After" in refused[0].headers) is retry_after
    assert any(name.lower().startswith("x-ratelimit") for name in refused[0].headers) is tells_limits
    counts = github.api.github()
    assert (counts["primary_refusals"], counts["secondary_refusals"]) == (0, len(refused))
    assert counts["windows"]["octo-ada"]["core"][0]["used"] == 12 - len(refused)
    github.api.github(secondary=False)
    assert github.get(PATH).status == 200


async def ask_at_once(api: FakeApi, calls: int) -> list[int]:
    headers = {"Authorization": f"Bearer {POOL[0]}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask() -> int:
            async with session.get(f"{api.url}/github{PATH}") as reply:
                return reply.status

        return await asyncio.gather(*(ask() for _ in range(calls)))


def test_too_many_at_once(github: Github) -> None:
    github.api.github(concurrency=4)
    github.api.faults(latency_ms=400)
    assert sorted(asyncio.run(ask_at_once(github.api, 10))) == [200] * 4 + [403] * 6
    own = github.api.github()["secondary"]["octo-ada"]
    assert (own["refused_concurrency"], own["max_in_flight"], own["in_flight"]) == (6, 4, 0)


class TestSettings:
    def test_they_are_changed_one_by_one_and_reset_together(self, github: Github) -> None:
        real = github.api.github()["settings"]
        assert (real["limit"], real["hour_s"], real["concurrency"], real["points_per_minute"]) == (
            5_000,
            3_600,
            100,
            900,
        )
        assert github.api.github(hour_s=10)["settings"] == real | {"hour_s": 10}
        github.get(PATH)
        github.api.reset_github()
        assert github.api.github() == {
            "settings": real,
            "primary_refusals": 0,
            "secondary_refusals": 0,
            "not_modified": 0,
            "windows": {},
            "secondary": {},
        }

    @pytest.mark.parametrize(
        ("name", "bad"),
        [
            ("hour_s", 0),
            ("hour_s", "10"),
            ("limit", -1),
            ("limit", True),
            ("refusal_status", 500),
            ("secondary", 1),
            ("secondary_shape", "polite"),
            ("bad_tokens", "abc"),
            ("speed", 1),
        ],
    )
    def test_a_bad_one_changes_nothing(self, github: Github, name: str, bad: object) -> None:
        with pytest.raises(ValueError, match=name):
            github.api.github(page_cap=7, **{name: bad})
        assert github.api.github()["settings"]["page_cap"] == 400

    def test_it_must_be_an_object(self, github: Github) -> None:
        assert github.api.request("PUT", "/_admin/github", "[]").status == 400
        assert github.api.request("PUT", "/_admin/github", "{").status == 400
