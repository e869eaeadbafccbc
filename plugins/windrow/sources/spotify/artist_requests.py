"""Requests of the chatbot for one artist: recorded when they arrive, looked up, answered.

Each is an item of the DynamoDB table `artist_requests` from before its message is deleted until long after it is
answered; `windrow.sources.spotify.top_tracks` describes it. Recording makes no call of the API, and has its own DAG, so
that a request is recorded whatever else is running. Answering never waits for a used-up quota: what cannot be answered
now stays open for the next run.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.sqs import Message, Queue
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.operators.plan import PlanOperator, refuse_unknown
from windrow.harvest.flow import RunDriver
from windrow.model.answer import Answer
from windrow.model.answer import Outcome as Answered
from windrow.model.errors import BadParameter, NothingToHarvest, RateLimited, Unusable, WindrowError
from windrow.model.plan import Run
from windrow.model.stream import Request
from windrow.sources.spotify.artists import Artist, key_of, look_up
from windrow.sources.spotify.operators import PUBLISH, capabilities
from windrow.sources.spotify.streams import TOP_TRACKS as BY_RANK
from windrow.sources.spotify.streams import artist_of
from windrow.sources.spotify.top_tracks import (
    ARTIST_ID,
    REQUEST,
    REQUESTS,
    TOP_TRACKS,
    Outcome,
    instant,
    items,
    met,
    requested,
    rows,
    unmet,
)
from windrow.store.staging import Figures, Staging

log = logging.getLogger(__name__)

FRESH_S = 600
"""How long an answer stays fresh: the same request is not handled again meanwhile."""
_OF_ONE_ALONE: tuple[type[WindrowError], ...] = (BadParameter, RateLimited, Unusable)
"""Errors that concern one request, or the endpoint that it needs."""
_Found = dict[str, tuple[Artist, list[Mapping[str, Any]]]]
"""Artists by id, each with its requests."""


class RecordRequestsOperator(BaseOperator):
    """Receives the requests in the queue, and records each in DynamoDB before it deletes the message.

    So a kill loses none. A message that is not a request moves to the dead-letter queue. A request that is open, or was
    answered a short time ago, is not recorded again.

    :param queue_name: the name of the SQS queue.
    :param fresh_s: how long an answer stays fresh, in seconds.
    :returns: figures: ``recorded``, ``known`` and ``invalid``.
    """

    advice = "A message that was not deleted is delivered again after five minutes. Clear this task, or wait."
    template_fields = ("queue_name", "aws_conn_id")

    def __init__(
        self, *, queue_name: str, fresh_s: int = FRESH_S, aws_conn_id: str = "aws_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.queue_name = queue_name
        self.fresh_s = fresh_s
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Record all messages of the queue.

        :raises AirflowSkipException: there is no new request.
        """
        requests = DynamoTable(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        queue = Queue(self.aws_conn_id, self.queue_name)
        count = {"recorded": 0, "known": 0, "invalid": 0}
        for message in queue.receive():
            try:
                text = requested(_json(message["Body"]))
            except BadParameter as bad:
                self.log.warning("The message %s moves to the dead-letter queue: %s", message["MessageId"], bad.what)
                queue.put_aside(message, bad.what)
                count["invalid"] += 1
            else:
                count["recorded" if record(text, _sent_at(message), requests, self.fresh_s) else "known"] += 1
                queue.delete(message)
        self.log.info("Requests in the queue: %s", count)
        if not count["recorded"]:
            raise AirflowSkipException("There is no new request.")
        return count


def record(text: str, asked_at: datetime, requests: DynamoTable, fresh_s: int) -> bool:
    """Record a request, unless the same is open, or was answered a short time ago. Return whether it is new."""
    key = key_of(text)
    before = requests.get(key)
    if before and before["outcome"] == Outcome.TAKEN:
        return False
    if before and before.get("settled_at", "") >= instant(asked_at - timedelta(seconds=fresh_s)):
        log.info("%r was answered at %s: %s", text, before["settled_at"], before["outcome"])
        return False
    taken = {REQUEST: key, "text": text, "asked_at": instant(asked_at), "outcome": Outcome.TAKEN.value}
    return bool(requests.put([taken]))


class FindArtistsOperator(HarvestStep):
    """Finds the artists of all open requests and, if there are any, what the client id may call now.

    A request whose artist was fetched since it was recorded needs no call. An error of one request does not stop the
    others.

    :param conn_id: the Airflow connection of the API.
    :param fresh_s: how long an answer stays fresh, in seconds.
    :returns: XComs: ``artists`` (their ids), ``names`` (by id), ``requests`` (by id), ``asked_at``, and
        ``capabilities`` (fields of `Capabilities`).
    """

    advice = "Requests are in the table artist_requests. Clear this task: it handles all open ones."
    template_fields = (*HarvestStep.template_fields, "conn_id", "aws_conn_id")

    def __init__(
        self, *, conn_id: str, fresh_s: int = FRESH_S, aws_conn_id: str = "aws_default", **kwargs: Any
    ) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.conn_id = conn_id
        self.fresh_s = fresh_s
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """Record the artist of the run's own param, and find the artists of all open requests.

        :raises BadParameter: the run's own params are invalid.
        :raises AirflowSkipException: there is no artist to fetch.
        :raises Unusable: there is none, and the API's answer about one of them cannot be used.
        """
        refuse_unknown(context["dag_run"].conf or {}, self.dag.params)
        requests = DynamoTable(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        if named := context["params"].get("artist"):
            record(requested({"artist": named}), context["dag_run"].run_after, requests, self.fresh_s)
        waiting = [item for item in requests.all() if item["outcome"] == Outcome.TAKEN]
        found = self._find(self.run_of(context), waiting, requests)
        if not found:
            raise AirflowSkipException("No open request needs a call for its artist.")
        return {
            "artists": list(found),
            "names": {artist_id: artist.name for artist_id, (artist, _) in found.items()},
            "requests": {artist_id: [item[REQUEST] for item in items_] for artist_id, (_, items_) in found.items()},
            "asked_at": min(item["asked_at"] for _, items_ in found.values() for item in items_),
            "capabilities": asdict(capabilities(self, self.conn_id, context, can_wait=False)),
        }

    def _find(self, run: Run, waiting: Sequence[Mapping[str, Any]], requests: DynamoTable) -> _Found:
        """Return the artists to fetch, each with its requests; answer the requests that need no call."""
        found: _Found = {}
        trouble: WindrowError | None = None
        with staging(self.mongo_conn_id, self.dataset) as state:
            driver = RunDriver(ApiHook(self.conn_id).client(self.stream, state), state, run)
            names = [look_up(item["text"]) for item in waiting]
            looked_up = driver.run(driver.lead_each(names, tolerated=_OF_ONE_ALONE))
        top_tracks = requests.beside(TOP_TRACKS, key=ARTIST_ID)
        for item, result in zip(waiting, looked_up, strict=True):
            if isinstance(result, Artist):
                known = top_tracks.get(result.id)
                if known and known["fetched_at"] >= item["asked_at"]:  # by a request in other words
                    requests.put([_settled(item, met(result.id, result.name, len(known["tracks"])))])
                else:
                    found.setdefault(result.id, (result, []))[1].append(item)
                continue
            self.log.warning("%r: %s", item["text"], result)
            if isinstance(result, BadParameter):
                requests.put([_settled(item, unmet(result))])
            elif isinstance(result, RateLimited):
                told = f"The quota of the API is used up until {result.retry_at:%Y-%m-%d %H:%M} UTC."
                requests.put([{**item, "told": told}])
            else:
                trouble = result
                requests.put([{**item, "told": str(result)}])
        if trouble and not found:
            raise trouble
        return found


class AnswerOperator(PlanOperator):
    """Fetches the artists of requests, plans the calls that were answered, and tells the chatbot.

    It writes the top tracks and the outcomes of the requests to DynamoDB. It never waits for a used-up quota: a request
    without an answer stays open for the next run.

    :param given: the output of tasks before, as for `PlanOperator`: ``artists`` and ``capabilities``.
    :param found: the output of `FindArtistsOperator`.
    :returns: figures, which the receipt also has; among them the seconds since the oldest request.
    """

    advice = (
        "Answers are in MongoDB, and items are replaced whole, only by newer ones. Clear this task with all tasks "
        "downstream: it makes only the missing calls."
    )
    template_fields = (*PlanOperator.template_fields, "found", "aws_conn_id")

    def __init__(self, *, found: Any, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.found = found
        self.aws_conn_id = aws_conn_id

    def request_of(self, context: Context) -> Request:
        """Return the request of the run, with ``now``: the stream then makes all calls while it plans."""
        request = super().request_of(context)
        return replace(request, params={**request.params, "now": True})

    def execute(self, context: Context) -> Figures:
        """Fetch them, write their items, then answer the requests.

        :raises AirflowSkipException: no artist can be fetched now; the requests stay open.
        """
        try:
            self.make_plan(context)
        except NothingToHarvest:
            raise AirflowSkipException(
                "No artist can be fetched now, because quotas are used up. The next run handles the requests."
            ) from None
        return self._publish(self.run_of(context))

    def _publish(self, run: Run) -> Figures:
        requests = DynamoTable(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        top_tracks = requests.beside(TOP_TRACKS, key=ARTIST_ID)
        with staging(self.mongo_conn_id, self.dataset) as state:
            answers = {artist_of(answer.query): answer for answer in _answers(state, run)}
            made = list(items(self._rows(run, answers)))
            written = top_tracks.put(_no_stand_in_for_better(made, top_tracks))
            tracks = {item[ARTIST_ID]: len(item["tracks"]) for item in made}
            for artist_id, keys in self.found["requests"].items():
                for item in filter(None, map(requests.get, keys)):
                    requests.put([self._outcome(item, artist_id, tracks, answers)])
            waited = datetime.now(UTC) - datetime.fromisoformat(self.found["asked_at"])
            figures = {
                "dynamodb_artists": len(made),
                "dynamodb_written": written,
                "requests_open": sum(
                    len(keys) for artist_id, keys in self.found["requests"].items() if artist_id not in answers
                ),
                "seconds_to_dynamodb": round(max(0.0, waited.total_seconds()), 1),
            }
            state.note(run, PUBLISH, figures)
        return figures

    def _outcome(
        self, item: Mapping[str, Any], artist_id: str, tracks: Mapping[str, int], answers: Mapping[str, Answer]
    ) -> dict[str, Any]:
        """Return the item of a request with its outcome; without an answer it stays open."""
        if artist_id not in answers:
            return {**item, "told": "The artist could not be fetched yet. The next run tries again."}
        return _settled(item, met(artist_id, self.found["names"][artist_id], tracks.get(artist_id, 0)))

    def _rows(self, run: Run, answers: Mapping[str, Answer]) -> Iterator[dict[str, Any]]:
        """Read the answers, artist by artist."""
        for artist_id, answer in answers.items():
            if answer.outcome is Answered.ANSWERED:
                lineage = {"_fetched_at": answer.fetched_at, "_run_id": run.run_id}
                records = [record_ | lineage for record_ in self.stream.records(answer.query, answer.parsed)]
                yield from rows(self.found["names"].get(artist_id, ""), records)


def _answers(state: Staging, run: Run) -> Iterator[Answer]:
    """Return the staged answers of the run, without those of erased queries."""
    for number in range(state.plan(run).chunks):
        yield from (one for one in state.answers(state.chunk(run, number)) if one.outcome is not Answered.ERASED)


def _no_stand_in_for_better(made: Sequence[dict[str, Any]], top_tracks: DynamoTable) -> list[dict[str, Any]]:
    """Omit newest albums of artists whose top tracks are known: the daily run updates these."""
    return [
        item
        for item in made
        if item["ranked_by"] == BY_RANK or (top_tracks.get(item[ARTIST_ID]) or {}).get("ranked_by") != BY_RANK
    ]


def _settled(item: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item of a request with its outcome."""
    kept = {name: item[name] for name in (REQUEST, "text", "asked_at")}
    return {**kept, "settled_at": instant(datetime.now(UTC)), **outcome}


def _json(text: str) -> object:
    """Read a text as JSON; None if it is not JSON, or nested too deeply."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _sent_at(message: Message) -> datetime:
    """Return when a message was sent; now, if SQS does not say it."""
    milliseconds = (message.get("Attributes") or {}).get("SentTimestamp")
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else datetime.now(UTC)
