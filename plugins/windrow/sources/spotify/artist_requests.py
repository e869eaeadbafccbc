"""Answers the requests of the chatbot for one artist, which `windrow.sources.spotify.recorder` has recorded.

Each is an item of the DynamoDB table `artist_requests`; `windrow.sources.spotify.top_tracks` describes it. Answering
never waits for a used-up quota: what cannot be answered now stays open for the next run.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.sqs import Queue
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.plan import PlanOperator, refuse_unknown, standing
from windrow.harvest.flow import RunDriver
from windrow.model.answer import Answer
from windrow.model.answer import Outcome as Answered
from windrow.model.errors import BadParameter, NothingToHarvest, RateLimited, Unusable, WindrowError
from windrow.model.plan import Run
from windrow.model.stream import Request
from windrow.sources.spotify.access import CLIENTS
from windrow.sources.spotify.artists import Artist, look_up
from windrow.sources.spotify.operators import PUBLISH
from windrow.sources.spotify.recorder import Recorder, is_open, open_requests, record
from windrow.sources.spotify.streams import TOP_TRACKS as BY_RANK
from windrow.sources.spotify.streams import artist_of
from windrow.sources.spotify.top_tracks import (
    ARTIST_ID,
    REQUEST,
    TOP_TRACKS,
    instant,
    items,
    met,
    requested,
    rows,
    unmet,
)
from windrow.store.staging import Figures, Staging

log = logging.getLogger(__name__)

RUN = "run"
"""The attribute of a request with the id of the run that answers it, or has answered it."""
_NAME = "artist_name"
_BY_EVENT = "asset_triggered"
_NOT_YET = "The artist could not be fetched yet. The next run tries again."
_OF_ONE_ALONE: tuple[type[WindrowError], ...] = (BadParameter, RateLimited, Unusable)
"""Errors that concern one request, or the endpoint that it needs."""


class AnswerOperator(PlanOperator):
    """Finds the artists of all open requests, fetches them, plans the calls that were answered, and tells the chatbot.

    It writes the top tracks and the outcomes of the requests to DynamoDB. It never waits for a used-up quota: a request
    without an answer stays open for the next run. A request whose artist was fetched since it was recorded needs no
    call. An error of one request does not stop the others.

    A request says which run answers it, before the run has a plan. So each later try, and a clear, is about the same
    requests as the plan.

    :param queue_name: the SQS queue of requests. A run that no event has started receives its messages: the triggerer
        may not run.
    :returns: figures, which the receipt also has; among them the seconds since the oldest request.
    """

    advice = (
        "Requests are in the table artist_requests, answers in MongoDB. Items are replaced whole, and only by newer "
        "ones. Clear this task with all tasks downstream: it makes only the missing calls."
    )
    template_fields = (*PlanOperator.template_fields, "queue_name", "aws_conn_id")

    def __init__(self, *, queue_name: str, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.queue_name = queue_name
        self.aws_conn_id = aws_conn_id

    def request_of(self, context: Context) -> Request:
        """Return the request of the run, with ``now``: the stream then makes all calls while it plans."""
        request = super().request_of(context)
        return replace(request, params={**request.params, "now": True})

    def execute(self, context: Context) -> Figures:
        """Find the artists, fetch them, write their items, then answer the requests.

        :raises BadParameter: the run's own params are invalid.
        :raises AirflowSkipException: there is no artist to fetch, or none can be fetched now; the requests stay open.
        :raises Unusable: there is none, and the API's answer about one of them cannot be used.
        """
        refuse_unknown(context["dag_run"].conf or {}, self.dag.params)
        run, requests = self.run_of(context), open_requests(self.aws_conn_id)
        with staging(self.mongo_conn_id, self.dataset) as state:
            if standing(state, run):
                own = [item for item in requests.all() if item.get(RUN) == run.run_id]
            elif not (own := self._find(state, run, self._waiting(context, requests), requests)):
                raise AirflowSkipException("No open request needs a call for its artist.")
        # without the kind of the client id, the API's refusal of the top tracks says it
        may = CLIENTS.get(str(context["params"].get("client")), CLIENTS["extended"])
        self.given = {"artists": list({item[ARTIST_ID]: None for item in own}), "capabilities": asdict(may)}
        try:
            self.make_plan(context)
        except NothingToHarvest:
            raise AirflowSkipException(
                "No artist can be fetched now, because quotas are used up. The next run handles the requests."
            ) from None
        return self._publish(run, own, requests)

    def _waiting(self, context: Context, requests: DynamoTable) -> list[dict[str, Any]]:
        """Record what this run is about in addition, and return all open requests."""
        dag_run = context["dag_run"]
        if named := context["params"].get("artist"):
            record(requested({"artist": named}), dag_run.run_after, requests)
        waiting = list(filter(is_open, requests.all()))  # first: without the table, no message is received
        if dag_run.run_type.value != _BY_EVENT:
            Recorder(requests, Queue(self.aws_conn_id, self.queue_name)).record_all()
            waiting = list(filter(is_open, requests.all()))
        return waiting

    def _find(
        self, state: Staging, run: Run, waiting: Sequence[Mapping[str, Any]], requests: DynamoTable
    ) -> list[dict[str, Any]]:
        """Return the requests of this run, each with its artist; answer the requests that need no call."""
        own: list[dict[str, Any]] = []
        trouble: WindrowError | None = None
        if not waiting:
            return own
        driver = RunDriver(ApiHook(self.conn_id).client(self.stream, state), state, run)
        texts = [look_up(item["text"]) for item in waiting]
        looked_up = driver.run(driver.lead_each(texts, tolerated=_OF_ONE_ALONE))
        top_tracks = requests.beside(TOP_TRACKS, key=ARTIST_ID)
        for item, result in zip(waiting, looked_up, strict=True):
            if isinstance(result, Artist):
                known = top_tracks.get(result.id)
                if known and known["fetched_at"] >= item["asked_at"]:  # by a request in other words
                    requests.put([_settled(item, met(result.id, result.name, len(known["tracks"])))])
                else:
                    own.append({**item, ARTIST_ID: result.id, _NAME: result.name, RUN: run.run_id})
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
        if trouble and not own:
            raise trouble
        requests.put(own)
        return own

    def _publish(self, run: Run, own: Sequence[Mapping[str, Any]], requests: DynamoTable) -> Figures:
        top_tracks = requests.beside(TOP_TRACKS, key=ARTIST_ID)
        names = {item[ARTIST_ID]: item[_NAME] for item in own}
        with staging(self.mongo_conn_id, self.dataset) as state:
            answers = {artist_of(answer.query): answer for answer in _answers(state, run)}
            made = list(items(self._rows(run, answers, names)))
            written = top_tracks.put(_no_stand_in_for_better(made, top_tracks))
            tracks = {item[ARTIST_ID]: len(item["tracks"]) for item in made}
            left_open = [{**item, "told": _NOT_YET} for item in own if item[ARTIST_ID] not in answers]
            answered = [
                _settled(item, met(item[ARTIST_ID], item[_NAME], tracks.get(item[ARTIST_ID], 0)))
                for item in own
                if item[ARTIST_ID] in answers
            ]
            requests.put([*answered, *left_open])
            oldest = min((datetime.fromisoformat(item["asked_at"]) for item in own), default=datetime.now(UTC))
            figures = {
                "dynamodb_artists": len(made),
                "dynamodb_written": written,
                "requests_open": len(left_open),
                "seconds_to_dynamodb": round(max(0.0, (datetime.now(UTC) - oldest).total_seconds()), 1),
            }
            state.note(run, PUBLISH, figures)
        return figures

    def _rows(self, run: Run, answers: Mapping[str, Answer], names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Return the rows of these artists. An answer about another one belongs to a request that a later run has."""
        for artist_id, answer in answers.items():
            if answer.outcome is Answered.ANSWERED and artist_id in names:
                lineage = {"_fetched_at": answer.fetched_at, "_run_id": run.run_id}
                records = [record_ | lineage for record_ in self.stream.records(answer.query, answer.parsed)]
                yield from rows(names[artist_id], records)


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
    kept = {name: item[name] for name in (REQUEST, "text", "asked_at", RUN) if name in item}
    return {**kept, "settled_at": instant(datetime.now(UTC)), **outcome}
