"""Steps that only the Spotify DAGs have: what may be asked, who is known, who is meant, what the chatbot is told."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from airflow.sdk import Context, Variable
from airflow.sdk.exceptions import AirflowSkipException

from windrow.answer import Answer
from windrow.client import Client
from windrow.errors import BadParameter, RateLimited
from windrow.hooks.api import ApiHook
from windrow.hooks.athena import rows as rows_of
from windrow.hooks.items import Items
from windrow.hooks.messages import Message, Queue
from windrow.hooks.staging import staging
from windrow.lookup import converse
from windrow.operators.base import HarvestStep
from windrow.plan import Run
from windrow.sources.spotify import CLIENTS, Artist, Capabilities, artist_id_in, look_up, probe
from windrow.staging import Figures, Staging
from windrow.top_tracks import (
    ARTIST_ID,
    REQUEST,
    REQUESTS,
    TOP_TRACKS,
    Outcome,
    instant,
    items,
    met,
    rows,
    unmet,
    words_of,
)

PUBLISH = "publish"
"""The step whose figures tell what was written to DynamoDB."""


class CapabilitiesOperator(HarvestStep):
    """Finds out what the client id may ask, unless the run's param ``client`` says it.

    :param conn_id: the Airflow connection of the API.
    :returns: XComs of these names: ``capabilities`` (fields of `Capabilities`), ``datasets``.
    """

    template_fields = (*HarvestStep.template_fields, "conn_id")

    def __init__(self, *, conn_id: str, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """Probe, with three calls at most."""
        may = CLIENTS.get(str(context["params"].get("client")))
        if may is None:
            with staging(self.mongo_conn_id, self.dataset) as state:
                client = ApiHook(self.conn_id).client(self.stream, state)
                try:
                    may = asyncio.run(_probe(client))
                except RateLimited as limit:
                    raise self.deferral(limit) from None
        self.log.info("The client id may ask: %s", may)
        return {"capabilities": asdict(may), "datasets": may.datasets}


class KnownArtistsOperator(HarvestStep):
    """Lists the artists of a run: those of its param ``artists``, or all that are known.

    Known are those of the Airflow variable, a JSON array of names or ids, and those that the chatbot's table holds.

    :param variable: the variable's name.
    :param aws_conn_id: the Airflow connection of AWS.
    """

    template_fields = (*HarvestStep.template_fields, "aws_conn_id")

    def __init__(self, *, variable: str, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variable = variable
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> list[str]:
        """List them."""
        named = context["params"].get("artists")
        if named:
            return list(named)
        listed = Variable.get(self.variable, default=[], deserialize_json=True)
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise BadParameter(
                f"The Airflow variable {self.variable!r} is no list of names or ids.",
                advice='It should look like ["Halden Pike", "4Z8W4fKeB5YxbusRsdQVPb"].',
            )
        asked_for = sorted(item[ARTIST_ID] for item in Items(self.aws_conn_id, TOP_TRACKS, key=ARTIST_ID).all())
        return list(dict.fromkeys([*listed, *asked_for]))


class FindArtistsOperator(HarvestStep):
    """Takes requests for artists off the queue, and finds out who is meant.

    A request is recorded in DynamoDB before its message is deleted, so a kill loses none: what is recorded and not
    settled is taken up by the next run. A message that is no request goes to the dead-letter queue. A request that
    was settled a short time ago is not worked on again.

    :param conn_id: the Airflow connection of the API.
    :param queue_name: the name of the queue of SQS.
    :param fresh_s: for so many seconds an answer is not asked for again.
    :returns: XComs of these names: ``artists`` (their ids), ``names`` (by id), ``requests`` (by id), ``asked_at``.
    """

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

        :raises AirflowSkipException: nobody is left to fetch.
        """
        requests = Items(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        self._record(context, requests)
        waiting = [item for item in requests.all() if item["outcome"] == Outcome.TAKEN]
        try:
            found = self._find(waiting, requests)
        except RateLimited as limit:
            for item in waiting:
                requests.put([item | {"told": f"The API lets us search again at {limit.retry_at:%Y-%m-%d %H:%M} UTC."}])
            raise self.deferral(limit) from None
        if not found:
            raise AirflowSkipException("No request is left that an artist has to be fetched for.")
        return {
            "artists": list(found),
            "names": {artist_id: artist.name for artist_id, (artist, _) in found.items()},
            "requests": {artist_id: [item[REQUEST] for item in items_] for artist_id, (_, items_) in found.items()},
            "asked_at": min(item["asked_at"] for _, items_ in found.values() for item in items_),
        }

    def _record(self, context: Context, requests: Items) -> None:
        """Make what is asked for durable, then take the messages off the queue."""
        dag_run = context["dag_run"]
        named = context["params"].get("artist")
        if named:
            self._take(str(named), dag_run.run_after, requests)
        messages = list(_messages(context))
        queue = Queue(self.aws_conn_id, self.queue_name) if messages else None
        for message in messages:
            assert queue is not None  # noqa: S101 - tells the type checker what the line above says
            try:
                text = _request_in(message)
            except BadParameter as bad:
                self.log.warning("A message goes to the dead-letter queue: %s", bad.what)
                queue.put_aside(message, bad.what)
                continue
            self._take(text, _sent_at(message), requests)
            queue.delete(message)

    def _take(self, text: str, asked_at: datetime, requests: Items) -> None:
        """Record a request, unless the same was settled a short time ago."""
        key = words_of(text)
        before = requests.get(key)
        settled = before is not None and before["outcome"] != Outcome.TAKEN
        fresh_since = instant(asked_at - timedelta(seconds=self.fresh_s))
        if settled and before is not None and before.get("settled_at", "") >= fresh_since:
            self.log.info("%r was settled at %s: %s", text, before["settled_at"], before["outcome"])
            return
        if before is None or settled:
            taken = {REQUEST: key, "text": text, "asked_at": instant(asked_at), "outcome": Outcome.TAKEN.value}
            requests.put([taken])

    def _find(
        self, waiting: Sequence[Mapping[str, Any]], requests: Items
    ) -> dict[str, tuple[Artist, list[Mapping[str, Any]]]]:
        """Return the artists that are meant, each with its requests; settle the requests that mean none."""
        found: dict[str, tuple[Artist, list[Mapping[str, Any]]]] = {}
        with staging(self.mongo_conn_id, self.dataset) as state:
            client = ApiHook(self.conn_id).client(self.stream, state)
            for item, result in asyncio.run(_look_up_all(client, waiting)):
                if isinstance(result, Artist):
                    found.setdefault(result.id, (result, []))[1].append(item)
                else:
                    self.log.warning("%r: %s", item["text"], result)
                    requests.put([_settled(item, unmet(result))])
        return found


@dataclass(frozen=True, slots=True)
class _Published:
    """What was written to the table of top tracks."""

    artists: int
    tracks: int
    written: int


class PublishOperator(HarvestStep):
    """Writes what the chatbot is told of artists into DynamoDB.

    :param query_id: a query of Athena whose rows are `spotify.top_tracks`, all of them.
    :returns: figures, which the receipt shows too.
    """

    template_fields = (*HarvestStep.template_fields, "query_id", "aws_conn_id")

    def __init__(self, *, query_id: str, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query_id = query_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Figures:
        """Write them."""
        from airflow.providers.amazon.aws.hooks.athena import AthenaHook  # noqa: PLC0415 - not for the new artist

        hook = AthenaHook(aws_conn_id=self.aws_conn_id, log_query=False)
        published = _publish(self.aws_conn_id, list(items(rows_of(hook, self.query_id))))
        figures = {"dynamodb_artists": published.artists, "dynamodb_written": published.written}
        with staging(self.mongo_conn_id, self.dataset) as state:
            state.note(self.run_of(context), PUBLISH, figures)
        return figures


class PublishNewOperator(HarvestStep):
    """Writes what the chatbot waits for into DynamoDB: the staged top tracks of this run, and the outcomes.

    :param found: the output of `FindArtistsOperator`.
    :returns: figures, which the receipt shows too: also the seconds since the oldest request.
    """

    template_fields = (*HarvestStep.template_fields, "found", "aws_conn_id")

    def __init__(self, *, found: Any, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.found = found
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Figures:
        """Write them, then settle the requests."""
        run = self.run_of(context)
        requests = Items(self.aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")
        with staging(self.mongo_conn_id, self.dataset) as state:
            made = list(items(self._rows(state, run)))
            published = _publish(self.aws_conn_id, made)
            tracks = {item[ARTIST_ID]: len(item["tracks"]) for item in made}
            for artist_id, keys in self.found["requests"].items():
                outcome = met(artist_id, self.found["names"][artist_id], tracks.get(artist_id, 0))
                requests.put([_settled(item, outcome) for item in filter(None, map(requests.get, keys))])
            waited = datetime.now(UTC) - datetime.fromisoformat(self.found["asked_at"])
            figures = {
                "dynamodb_artists": published.artists,
                "dynamodb_written": published.written,
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


def _settled(item: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Make the item of a request that is settled."""
    kept = {name: item[name] for name in (REQUEST, "text", "asked_at")}
    return {**kept, "settled_at": instant(datetime.now(UTC)), **outcome}


def _publish(aws_conn_id: str, made: Sequence[dict[str, Any]]) -> _Published:
    written = Items(aws_conn_id, TOP_TRACKS, key=ARTIST_ID).put(made)
    return _Published(len(made), sum(len(item["tracks"]) for item in made), written)


def _messages(context: Context) -> Iterator[Message]:
    """Find the messages in the events of the watched asset."""
    for events in context["triggering_asset_events"].values():
        for event in events:
            yield from (event.extra.get("payload") or {}).get("message_batch", ())


def _request_in(message: Message) -> str:
    """Return the words of a request.

    :raises BadParameter: it is none.
    """
    try:
        fields = json.loads(message["Body"])
        text = fields["artist"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str) or not text.strip():
        raise BadParameter(
            f"the message {message.get('MessageId')} is no request for an artist",
            advice='It should look like {"artist": "Halden Pike"}.',
        )
    return text.strip()


def _sent_at(message: Message) -> datetime:
    """Return when a message was sent; now, where SQS does not tell."""
    milliseconds = (message.get("Attributes") or {}).get("SentTimestamp")
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else datetime.now(UTC)


async def _probe(client: Client) -> Capabilities:
    async with client:
        return await converse(client, probe("0" * 22))


async def _look_up_all(
    client: Client, waiting: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Artist | BadParameter]]:
    """Look up each request; what means no artist comes back as the error that says so."""
    results: list[tuple[Mapping[str, Any], Artist | BadParameter]] = []
    async with client:
        for item in waiting:
            try:
                artist_id_in(item["text"])
                results.append((item, await converse(client, look_up(item["text"]))))
            except BadParameter as error:
                results.append((item, error))
    return results
