"""Operators that only the Spotify DAGs have: detect capabilities, publish all artists."""

import logging
from dataclasses import asdict
from typing import Any

from airflow.providers.amazon.aws.hooks.athena import AthenaHook
from airflow.sdk import Context

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.athena import rows as rows_of
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.harvest.flow import RunDriver
from windrow.sources.spotify.access import CLIENTS, probe
from windrow.sources.spotify.top_tracks import ARTIST_ID, TOP_TRACKS, items
from windrow.store.staging import Figures

log = logging.getLogger(__name__)

PUBLISH = "publish"
"""The step whose figures count what was written to DynamoDB."""


class CapabilitiesOperator(HarvestStep):
    """Detects what the client id may call, unless the run's param ``client`` says it.

    :param conn_id: the Airflow connection of the API.
    :returns: XComs of these names: ``capabilities`` (fields of `Capabilities`), ``datasets``.
    """

    advice = "Nothing was fetched yet. Fix the cause, then clear this task with all tasks downstream."
    template_fields = (*HarvestStep.template_fields, "conn_id")

    def __init__(self, *, conn_id: str, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """Make three calls at most."""
        may = CLIENTS.get(str(context["params"].get("client")))
        if may is None:
            with staging(self.mongo_conn_id, self.dataset) as state:
                driver = RunDriver(ApiHook(self.conn_id).client(self.stream, state), state, self.run_of(context))
                may = driver.run(driver.lead(probe("0" * 22)))
        log.info("The client id may call: %s", may)
        return {"capabilities": asdict(may), "datasets": may.datasets}


class PublishOperator(HarvestStep):
    """Writes the top tracks of all artists to DynamoDB, for the chatbot.

    :param query_id: a query of Athena that returns all rows of `spotify.top_tracks`.
    :returns: figures, which the receipt also has.
    """

    advice = "Items are replaced whole, and only by newer ones. Clear this task with all tasks downstream."
    template_fields = (*HarvestStep.template_fields, "query_id", "aws_conn_id")

    def __init__(self, *, query_id: str, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query_id = query_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Figures:
        """Write the items."""
        hook = AthenaHook(aws_conn_id=self.aws_conn_id, log_query=False)
        made = list(items(rows_of(hook, self.query_id)))
        written = DynamoTable(self.aws_conn_id, TOP_TRACKS, key=ARTIST_ID).put(made)
        figures = {"dynamodb_artists": len(made), "dynamodb_written": written}
        with staging(self.mongo_conn_id, self.dataset) as state:
            state.note(self.run_of(context), PUBLISH, figures)
        return figures
