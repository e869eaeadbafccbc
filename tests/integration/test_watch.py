"""The task that watches all harvests, with MongoDB, a webhook and a notifier of Airflow."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.http.notifications.http import HttpNotifier

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.unit.operators.test_alert import Webhook, webhook  # noqa: F401 - a fixture
from windrow.airflow.operators.watch import WatchOperator
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.model.redact import know
from windrow.store.staging import Staging

ROOT = Path(__file__).resolve().parents[2]
RUN = Run("shop_orders", "manual__2026-11-27", "shop_orders")
CONTEXT: dict[str, Any] = {
    "task_instance": SimpleNamespace(dag_id="harvest_watch", task_id="watch"),
    "run_id": "scheduled",
    "params": {},
}


@pytest.fixture(autouse=True)
def connection(cloud: Settings, staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    given = airflow_env.mongo_connection(cloud, staging._database.name)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(given))
    staging.prepare(RUN.dataset)


def fail(staging: Staging, run: Run = RUN, **figures: Any) -> None:
    staging.save_plan(run, [])
    figures = {"task_id": "harvest", "error": "HTTP 401 for sesame-sesame", "advice": "Renew the key."} | figures
    staging.note(run, "failure harvest", {"stopped_by": "CredentialsRejected", **figures})


def check(**kwargs: Any) -> list[str]:
    return WatchOperator(task_id="watch", **kwargs).execute(CONTEXT)


def test_a_failure_is_sent_once_and_its_end_too(webhook: Webhook, staging: Staging) -> None:  # noqa: F811
    know("sesame-sesame")
    fail(staging)

    first, second = check(), check()
    staging.note(RUN, "receipt", {"agrees": True, "planned": 0, "staged": 0})
    third = check()

    assert len(first) == 1
    assert first[0].startswith("ERROR: Action required: shop_orders.")
    assert first[0].endswith(
        "| What to do: Renew the key. | Cause: attention|Action required|CredentialsRejected|shop_orders"
    )
    assert "sesame" not in first[0]
    assert second == []
    assert [line[:10] for line in third] == ["OVER after"]
    assert [body["text"] for _, body in webhook.posted] == [first[0], third[0]]


def test_what_nobody_took_is_sent_by_the_next_check(webhook: Webhook, staging: Staging) -> None:  # noqa: F811
    fail(staging)
    broken = HttpNotifier(http_conn_id="nowhere", json={})

    webhook.status = 503
    with pytest.raises(WindrowError, match="No channel took the alerts: 2 failed"):
        check(notifiers=[broken])
    webhook.status = 200
    lines = check(notifiers=[broken])

    assert [line[:5] for line in lines] == ["ERROR"]
    assert check() == []


def test_only_the_channel_that_failed_is_tried_again(
    webhook: Webhook,  # noqa: F811
    staging: Staging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look() -> list[str]:
        return check(notifiers=[HttpNotifier(http_conn_id="chat", json={"chat": "{{ windrow_alert }}"})])

    fail(staging)
    assert [line[:5] for line in look()] == ["ERROR"], "the connection of the chat does not exist"
    assert look() == []
    assert look() == []
    (told,) = look()
    assert told.startswith("WARNING: Alerts: 'HttpNotifier' has taken no message since ")
    for _ in range(14):
        assert look() == []
    (record,) = staging.undelivered()
    assert (record["tries"], record["lines"], record["given_up"]) == (18, [], 2)
    (worse,) = look()
    assert worse.startswith("WORSE: Alerts: 'HttpNotifier'")
    assert look() == [], "it is not tried any longer"
    assert staging.undelivered()[0]["tries"] == 19, "but for what is new"
    assert len(webhook.posted) == 3, "the other channel gets each message once"

    host = f"http://127.0.0.1:{webhook.server_port}/chat"
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps({"conn_type": "http", "host": host}))
    staging.note(RUN, "receipt", {"agrees": True, "planned": 0, "staged": 0})
    (over,) = look()
    assert ("/chat", {"chat": over}) in webhook.posted
    assert staging.undelivered() == []
    (works,) = look()
    assert works.startswith("OVER after")
    assert "'HttpNotifier'" in works


def test_what_a_channel_did_not_take_is_in_its_next_message(
    webhook: Webhook,  # noqa: F811
    staging: Staging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail(staging)
    broken = HttpNotifier(http_conn_id="chat", json={"chat": "{{ windrow_alert }}"})
    (first,) = check(notifiers=[broken])
    host = f"http://127.0.0.1:{webhook.server_port}/chat"
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps({"conn_type": "http", "host": host}))
    fail(staging, Run("shop_items", RUN.run_id), stopped_by="CountsDisagree")

    (second,) = check(notifiers=[HttpNotifier(http_conn_id="chat", json={"chat": "{{ windrow_alert }}"})])

    assert [body for _, body in webhook.posted] == [
        {"text": first}, {"text": second}, {"chat": f"{first}\n{second}"}
    ]  # fmt: skip


def test_any_notifier_of_airflow_gets_the_message(webhook: Webhook, staging: Staging) -> None:  # noqa: F811
    fail(staging)
    chat = HttpNotifier(http_conn_id="windrow_alerts", json={"chat": "{{ windrow_alert }}"})
    broken = HttpNotifier(http_conn_id="nowhere", json={})

    (line,) = check(notifiers=[broken, chat])

    assert [body for _, body in webhook.posted] == [{"text": line}, {"chat": line}]


def test_an_airflow_that_refuses_is_a_problem_of_its_own(
    webhook: Webhook,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = f"http://127.0.0.1:{webhook.server_port}"
    webhook.status = 401
    monkeypatch.delenv("AIRFLOW_CONN_WINDROW_ALERTS")  # the same server
    airflow = {"conn_type": "http", "host": host, "login": "watch", "password": "sesame-sesame"}
    monkeypatch.setenv("AIRFLOW_CONN_WINDROW_AIRFLOW", json.dumps(airflow))

    (line,) = check()

    assert "did not give a snapshot" in line
    assert "HTTP 401" in line
    assert "sesame" not in line


def test_a_check_is_noted(staging: Staging) -> None:
    before = datetime.now(UTC).isoformat(timespec="milliseconds")
    check()
    (noted,) = staging._find("windrow_alerts", {"_id": "watch"})
    assert noted["at"] >= before


def test_a_snoozed_cause_is_told_when_the_snooze_ends(webhook: Webhook, staging: Staging) -> None:  # noqa: F811
    cause = "attention|Action required|CredentialsRejected|shop_orders"
    staging.snooze(cause, "2100-01-01T00:00:00+00:00", by="ada")
    fail(staging)

    silent = check()
    (record,) = staging.alerts()
    staging.snooze(cause, "2020-01-01T00:00:00+00:00", by="ada")
    told = check()

    assert silent == []
    assert (record["snoozed_by"], record["text"][:15]) == ("ada", "Action required")
    assert [line[:22] for line in told] == ["STILL: Action required"]
    assert len(webhook.posted) == 1
