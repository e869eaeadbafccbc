"""Reading the quarantine again, without a call."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from local_cloud.apis.made_up_passengers import make_passengers
from local_cloud.apis.testing import FakeApi
from tests.faults.harvest_process import DATASET, QUICK, STREAM, answers, asking, bodies, harvest, served, totals
from tests.scripted_api import Reply, ScriptedApi
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.harvest.replay import replay
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import StagingUnavailable, Unreadable
from windrow.model.formats import Csv
from windrow.model.plan import Plan, Run
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.stream import PlanFlow, Request, Stream
from windrow.store.staging import Staging

RUN = Run(DATASET, "scheduled__2026-01-01T00:00:00+00:00")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PASSENGERS = {str(each["Name"]): json.dumps(each) for each in make_passengers(20)}
NAMES = list(PASSENGERS)


def rejected(name: str, body: str, status: int = 200) -> Rejected:
    (query,) = asking([name])
    return Rejected(query, status, body, "the reader was wrong", MOMENT)


@pytest.fixture
def plan(staging: Staging) -> Plan:
    return staging.save_plan(RUN, asking(NAMES))


@pytest.mark.usefixtures("plan")
def test_an_answer_that_can_be_read_is_staged_as_it_came_and_leaves_the_quarantine(staging: Staging) -> None:
    one = rejected(NAMES[0], PASSENGERS[NAMES[0]])
    staging.reject(RUN, [(0, one)])

    assert replay(staging, RUN, STREAM) == 1

    assert staging.quarantined(RUN) == []
    assert staging.answers(staging.chunk(RUN, 0)) == [Answer(one.query, Outcome.ANSWERED, 200, one.body, MOMENT)]
    assert replay(staging, RUN, STREAM) == 0


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("<html>", 200),
        ("", 200),
        ('{"Name": "cut sho', 200),
        ("null", 200),
        (PASSENGERS[NAMES[1]], 200),  # somebody else
        (PASSENGERS[NAMES[0]], 400),
        (PASSENGERS[NAMES[0]], 0),
    ],
)
def test_what_cannot_be_read_stays_in_the_quarantine(staging: Staging, body: str, status: int) -> None:
    one = rejected(NAMES[0], body, status)
    staging.reject(RUN, [(0, one)])

    assert replay(staging, RUN, STREAM) == 0

    assert staging.quarantined(RUN) == [(0, one)]
    assert staging.settled(RUN, 0) == {}


@pytest.mark.usefixtures("plan")
def test_one_that_cannot_be_read_does_not_stop_the_others(staging: Staging) -> None:
    staging.reject(RUN, [(0, rejected(name, body)) for name, body in PASSENGERS.items()])
    staging.reject(RUN, [(0, rejected(NAMES[7], "<html>"))])

    assert replay(staging, RUN, STREAM) == 19

    assert [one.query for _, one in staging.quarantined(RUN)] == asking([NAMES[7]])
    assert len(staging.settled(RUN, 0)) == 19


def test_only_the_run_that_is_named_is_replayed(staging: Staging) -> None:
    other = Run(DATASET, "another")
    staging.reject(other, [(0, rejected(NAMES[0], PASSENGERS[NAMES[0]]))])

    assert replay(staging, RUN, STREAM) == 0

    assert len(staging.quarantined(other)) == 1


class Killed(BaseException):
    """The process ends here."""


class Dying(Staging):
    """A staging whose process is killed before anything leaves the quarantine."""

    def release(self, run: Run, key: str) -> None:
        raise Killed


def test_a_replay_that_is_killed_leaves_every_answer_in_one_of_the_two(staging: Staging, plan: Plan) -> None:
    staging.reject(RUN, [(0, rejected(name, body)) for name, body in PASSENGERS.items()])
    dying = Dying(staging._client, staging._database.name)

    with pytest.raises(Killed):
        replay(dying, RUN, STREAM)

    kept = {one.query.key for _, one in staging.quarantined(RUN)} | staging.settled(RUN, 0).keys()
    assert kept == {query.key for query in asking(NAMES)}
    assert replay(staging, RUN, STREAM) == 19  # one was staged
    assert bodies(staging, plan) == PASSENGERS
    assert staging.quarantined(RUN) == []


def test_a_harvest_whose_reader_was_wrong_is_saved_without_a_call(api: FakeApi, staging: Staging) -> None:
    passengers = served(api)
    plan = staging.save_plan(RUN, asking(passengers))

    def too_strict(query: Query, answer: object) -> Sequence[Mapping[str, object]]:
        records = STREAM.records(query, answer)
        if "Mrs." in str(records[0]["name"]):
            raise Unreadable("married")
        return records

    wives = sum("Mrs." in name for name in passengers)
    done = harvest(api.url, staging, plan, read=too_strict, backoff=Backoff(attempts=1))
    assert done.error is None
    assert (done.tally.rejected, done.tally.answered) == (wives, 891 - wives)
    api.reset()

    assert replay(staging, RUN, STREAM) == wives > 0

    assert totals(api)["requests"] == 0
    assert bodies(staging, plan) == passengers
    assert all(one.outcome is Outcome.ANSWERED for one in answers(staging, plan))
    assert staging.quarantined(RUN) == []


class Prices(Stream):
    """Rows of a CSV file. Its charset is declared wrong by the server."""

    dataset = "shop_prices"
    contract = Contract((Column("name", "name", Kind.STRING, "Name.", required=True),))
    format = Csv()

    def plan(self, request: Request) -> PlanFlow:
        yield from ()

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        assert isinstance(answer, list)
        return [self.contract.record(row) for row in answer]


class Fixed(Prices):
    """The same, with the charset that the file is in."""

    dataset = "shop_prices"
    format = Csv(charset="latin-1")


def harvested(api: ScriptedApi, staging: Staging, stream: Stream) -> Run:
    """Harvest one query."""
    run = Run(stream.dataset, "daily")
    plan = staging.save_plan(run, [Query.of("/prices")])

    async def running() -> None:
        async with Client(api.url, NoAuth(), limits=Limits(backoff=QUICK)) as client:
            await Harvester(client, staging, PlanFeed(staging, plan), stream.records, format=stream.format).run()

    asyncio.run(running())
    return run


@pytest.mark.parametrize(
    "value", ["ééé", "x" * 13_000_000 + "é" * 2_100_000], ids=["small", "larger than a document in each encoding"]
)
def test_bytes_that_could_not_be_decoded_are_read_by_a_fixed_format(
    scripted: ScriptedApi, staging: Staging, value: str
) -> None:
    text = f"name\n{value}\n"
    scripted.answers(Reply(text.encode("latin-1"), headers={"Content-Type": "text/csv; charset=utf-8"}))
    run = harvested(scripted, staging, Prices())
    [(_, kept)] = staging.quarantined(run)
    assert (kept.raw, kept.content_type) == (text.encode("latin-1"), "text/csv; charset=utf-8")
    assert len(scripted.asked) == 2

    assert replay(staging, run, Prices()) == 0
    assert replay(staging, run, Fixed()) == 1

    assert [answer.body for answer in staging.answers(staging.chunk(run, 0))] == [text]
    assert staging.quarantined(run) == []


def test_an_answer_in_several_documents_is_read_as_one(scripted: ScriptedApi, staging: Staging) -> None:
    lines = [f"{number:09000}é" for number in range(2_000)]
    scripted.answers(Reply("\n".join(["name", *lines])))
    run = harvested(scripted, staging, Prices())
    [answer] = staging.answers(staging.chunk(run, 0))
    assert Prices().records(answer.query, answer.parsed_as(Csv()))[-1]["name"] == lines[-1]
    assert answer.body == "\n".join(["name", *lines])
    assert staging.settled(run, 0) == {"prices": Outcome.ANSWERED}

    staging._database[run.dataset].delete_one({"piece": {"$exists": True}})
    with pytest.raises(StagingUnavailable, match="MongoDB has only a part"):
        staging.answers(staging.chunk(run, 0))
