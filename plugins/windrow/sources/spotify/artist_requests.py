"""Requests of the chatbot for one artist: taken off the queue, looked up, answered.

Each is an item of the DynamoDB table `artist_requests` from before its message is deleted until long after it is
settled; `windrow.sources.spotify.top_tracks` says what becomes of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.sqs import Message, Queue
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.operators.plan import refuse_unknown
from windrow.harvest.flow import RunDriver
from windrow.model.answer import Answer
from windrow.model.errors import BadParameter, RateLimited, Unusable, WindrowError
from windrow.model.plan import Run
from windrow.sources.spotify.artists import Artist, key_of, look_up
from windrow.sources.spotify.operators import PUBLISH
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

RANKED = "top_tracks"
"""What an item is ranked by that is no stand-in."""
_OF_ONE_ALONE: tuple[type[WindrowError], ...] = (BadParameter, RateLimited, Unusable)
"""Errors that concern one request, or the endpoint that it needs."""
_Found = dict[str, tuple[Artist, list[Mapping[str, Any]]]]
"""Artists by id, each with the requests that mean it."""


class FindArtistsOperator(HarvestStep):
    """Takes requests for artists off the queue, and finds out who is meant.

    A request is recorded in DynamoDB before its message is deleted, so a kill loses none: what is recorded and not
    settled is taken up by the next run. A message that is no request goes to the dead-letter queue. A request that
    was settled a short time ago is not worked on again, nor is one whose artist was fetched since it was made. A
    request in trouble does not stop the others.

    :param conn_id: the Airflow connection of the API.
    :param queue_name: the name of the queue of SQS.
    :param fresh_s: for so many seconds an answer is not asked for again.
    :returns: XComs of these names: ``artists`` (their ids), ``names`` (by id), ``requests`` (by id), ``asked_at``.
    """

    advice = "Requests are in the table artist_requests. Clear this task: those that are open are taken up again."
    template_fields = (*HarvestStep.template_fields, "conn_id", "queue_name", "aws_conn_id")

    def __init__(
        self, *, conn_id: str, queue_name: str, fresh_s: int = 600, aws_conn_id: str = "aws_default", **kwargs: Any
    ) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.conn_id = conn_id
        self.queue_name = queue_name
        self.fresh_s = fresh_s
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """Record, delete, find.

        :raises BadParameter: the run's own params can mean no request.
        :raises AirflowSkipException: nobody is left to fetch.
        :raises Unusable: nobody is, and of somebody the API gives nothing that can be read.
        """
        refuse_unknown(context["dag_run"].conf or {}, self.dag.params)
        requests = DynamoTable(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        self._record(context, requests)
        waiting = [item for item in requests.all() if item["outcome"] == Outcome.TAKEN]
        found = self._find(self.run_of(context), waiting, requests)
        if not found:
            raise AirflowSkipException("No request is left that an artist has to be fetched for.")
        return {
            "artists": list(found),
            "names": {artist_id: artist.name for artist_id, (artist, _) in found.items()},
            "requests": {artist_id: [item[REQUEST] for item in items_] for artist_id, (_, items_) in found.items()},
            "asked_at": min(item["asked_at"] for _, items_ in found.values() for item in items_),
        }

    def _record(self, context: Context, requests: DynamoTable) -> None:
        """Make what is asked for durable, then take the messages off the queue."""
        if named := context["params"].get("artist"):
            self._take(requested({"artist": named}), context["dag_run"].run_after, requests)
        messages = _messages(context)
        if not messages:  # a run by hand does without the queue
            return
        queue = Queue(self.aws_conn_id, self.queue_name)
        for message in messages:
            try:
                text = requested(_json(message["Body"]))
            except BadParameter as bad:
                self.log.warning("The message %s goes to the dead-letter queue: %s", message["MessageId"], bad.what)
                queue.put_aside(message, bad.what)
                continue
            self._take(text, _sent_at(message), requests)
            queue.delete(message)

    def _take(self, text: str, asked_at: datetime, requests: DynamoTable) -> None:
        """Record a request, unless the same is being worked on, or was settled a short time ago."""
        key = key_of(text)
        before = requests.get(key)
        if before and before["outcome"] == Outcome.TAKEN:
            return
        if before and before.get("settled_at", "") >= instant(asked_at - timedelta(seconds=self.fresh_s)):
            self.log.info("%r was settled at %s: %s", text, before["settled_at"], before["outcome"])
            return
        taken = {REQUEST: key, "text": text, "asked_at": instant(asked_at), "outcome": Outcome.TAKEN.value}
        requests.put([taken])

    def _find(self, run: Run, waiting: Sequence[Mapping[str, Any]], requests: DynamoTable) -> _Found:
        """Return the artists to fetch, each with its requests; settle the requests that need no fetching."""
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
                told = f"The API lets us ask again at {result.retry_at:%Y-%m-%d %H:%M} UTC."
                requests.put([{**item, "told": told}])
            else:
                trouble = result
                requests.put([{**item, "told": str(result)}])
        if trouble and not found:
            raise trouble
        return found


class PublishNewOperator(HarvestStep):
    """Writes what the chatbot waits for into DynamoDB: the staged top tracks of this run, and the outcomes.

    :param found: the output of `FindArtistsOperator`.
    :returns: figures, which the receipt shows too: also the seconds since the oldest request.
    """

    advice = "Items are replaced whole, and only by newer ones. Clear this task with all tasks downstream."
    template_fields = (*HarvestStep.template_fields, "found", "aws_conn_id")

    def __init__(self, *, found: Any, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.found = found
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Figures:
        """Write them, then settle the requests."""
        run = self.run_of(context)
        requests = DynamoTable(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        top_tracks = requests.beside(TOP_TRACKS, key=ARTIST_ID)
        with staging(self.mongo_conn_id, self.dataset) as state:
            made = list(items(self._rows(state, run)))
            written = top_tracks.put(_no_stand_in_for_better(made, top_tracks))
            tracks = {item[ARTIST_ID]: len(item["tracks"]) for item in made}
            for artist_id, keys in self.found["requests"].items():
                outcome = met(artist_id, self.found["names"][artist_id], tracks.get(artist_id, 0))
                requests.put([_settled(item, outcome) for item in filter(None, map(requests.get, keys))])
            waited = datetime.now(UTC) - datetime.fromisoformat(self.found["asked_at"])
            figures = {
                "dynamodb_artists": len(made),
                "dynamodb_written": written,
                "seconds_to_dynamodb": round(waited.total_seconds(), 1),
            }
            state.note(run, PUBLISH, figures)
        return figures

    def _rows(self, state: Staging, run: Run) -> Iterator[dict[str, Any]]:
        """Read the staged answers of the run, artist by artist."""
        for number in range(state.plan(run).chunks):
            for answer in state.answers(state.chunk(run, number)):
                records = self._records(run, answer)
                if records:
                    yield from rows(self.found["names"].get(records[0]["artist_id"], ""), records)

    def _records(self, run: Run, answer: Answer) -> list[dict[str, Any]]:
        if not answer.body or answer.status >= 400:
            return []
        lineage = {"_fetched_at": answer.fetched_at, "_run_id": run.run_id}
        return [record | lineage for record in self.stream.records(answer.query, orjson.loads(answer.body))]


def _no_stand_in_for_better(made: Sequence[dict[str, Any]], top_tracks: DynamoTable) -> list[dict[str, Any]]:
    """Leave out newest albums of artists whose top tracks are known; the daily run has newer ones of these."""
    return [
        item
        for item in made
        if item["ranked_by"] == RANKED or (top_tracks.get(item[ARTIST_ID]) or {}).get("ranked_by") != RANKED
    ]


def _settled(item: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Make the item of a request that is settled."""
    kept = {name: item[name] for name in (REQUEST, "text", "asked_at")}
    return {**kept, "settled_at": instant(datetime.now(UTC)), **outcome}


def _messages(context: Context) -> list[Message]:
    """Find the messages in the events of the watched asset; of one that was handed out again, the last."""
    found: dict[str, Message] = {}
    for events in context["triggering_asset_events"].values():
        for event in events:
            for message in (event.extra.get("payload") or {}).get("message_batch", ()):
                found[message["MessageId"]] = message
    return list(found.values())


def _json(text: str) -> object:
    """Read a text as JSON; None where it is none, or so deeply nested that nobody meant it."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _sent_at(message: Message) -> datetime:
    """Return when a message was sent; now, where SQS does not tell."""
    milliseconds = (message.get("Attributes") or {}).get("SentTimestamp")
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else datetime.now(UTC)
