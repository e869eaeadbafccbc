"""What is told of a run that is late, through Airflow's own trigger for such calls."""

import asyncio
import email
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse
from airflow.models import DagRun, import_all_models
from airflow.models.deadline import ReferenceModels
from airflow.sdk.definitions.deadline import DeadlineAlert
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert
from airflow.triggers.callback import CallbackTrigger
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from tests.unit.operators.test_alert import Mailbox, Webhook, mailbox, webhook  # noqa: F401 - fixtures
from windrow.airflow.operators.deadline import ends_within

MOMENT = datetime(2026, 11, 20, 14, tzinfo=UTC)
ALERT = ends_within(timedelta(hours=30), what="Look at 100% of its {tasks}: %s.")


def run_in(state: str) -> dict[str, Any]:
    """A run as the scheduler describes it to callbacks."""
    fields = dict.fromkeys(DAGRunResponse.model_fields) | {
        "run_id": "scheduled__2026-11-20T14:00:00+00:00", "dag_id": "youtube_analytics", "run_after": MOMENT,
        "run_type": "scheduled", "state": state, "dag_versions": [],
        "dag_model": SimpleNamespace(dag_display_name="youtube_analytics"),
    }  # fmt: skip
    return DAGRunResponse.model_validate(SimpleNamespace(**fields), from_attributes=True).model_dump(mode="json")


def fire(alert: DeadlineAlert, state: str) -> list[dict[str, Any]]:
    """Do what the triggerer does when the deadline is missed: the payloads of its events."""
    context = {"dag_run": run_in(state), "deadline": {"id": "1", "deadline_time": MOMENT}}
    trigger = CallbackTrigger(alert.callback.path, alert.callback.kwargs | {"context": context})

    async def events() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(events())


@pytest.mark.parametrize("state", ["running", "queued", "failed"])
def test_a_late_run_is_told_as_an_error_with_its_state_and_what_to_do(
    state: str,
    caplog: pytest.LogCaptureFixture,
    webhook: Webhook,  # noqa: F811
    mailbox: Mailbox,  # noqa: F811
):
    events = fire(ALERT, state)
    (record,) = [record for record in caplog.records if record.name == "windrow.airflow.operators.deadline"]
    line = record.getMessage()
    assert record.levelno == logging.ERROR
    assert line == (
        f"LATE: run 'scheduled__2026-11-20T14:00:00+00:00' of youtube_analytics is {state}, 1 day, 6:00:00 after it "
        "was queued. Look at 100% of its {tasks}: %s."
    )
    assert [event["state"] for event in events] == ["running", "success"]
    assert events[-1]["body"] == line, "what Airflow keeps of it"
    assert [body for _, body in webhook.posted] == [{"text": line}]
    (envelope,) = mailbox.taken
    assert email.message_from_bytes(envelope.content)["Subject"] == "Airflow: youtube_analytics needs attention"


def test_the_time_runs_from_the_queueing_so_that_a_run_started_by_hand_has_one_too():
    stored = decode_deadline_alert(encode_deadline_alert(ALERT))  # as the scheduler finds it, by way of the plugin
    engine = create_engine("sqlite://")
    import_all_models()  # each table names others
    DagRun.metadata.create_all(engine)
    with Session(engine) as session:
        runs = {"by_hand": MOMENT, "another": MOMENT + timedelta(days=1)}
        session.add_all(
            DagRun(dag_id=dag_id, run_id=run_id, run_type="manual", queued_at=queued_at)
            for dag_id in ("youtube_analytics", "x_posts")
            for run_id, queued_at in runs.items()
            if (dag_id, run_id) != ("x_posts", "by_hand")
        )
        session.flush()
        due = stored.reference.evaluate_with(
            session=session, interval=stored.interval, dag_id="youtube_analytics", run_id="by_hand"
        )
    assert due == MOMENT + timedelta(hours=30)


def test_a_run_with_a_deadline_can_be_cleared():
    """Clearing breaks on deadlines of this type, and looks for them by the name in the reference."""
    stored = encode_deadline_alert(ALERT)["reference"]
    assert stored[ReferenceModels.REFERENCE_TYPE_FIELD] != ReferenceModels.DagRunQueuedAtDeadline.__name__
