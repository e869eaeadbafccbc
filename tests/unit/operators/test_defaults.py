"""What every DAG has in common, as Airflow takes it."""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, BaseOperator

from windrow.airflow.operators.alert import EmailAlert, WebhookAlert
from windrow.airflow.operators.defaults import SQL_FOLDER, TASK_DEFAULTS
from windrow.airflow.operators.failure import explain_failure, explain_retry, note_failure
from windrow.airflow.operators.retry import ErrorPolicy


def test_a_task_gets_them_all():
    with DAG("any", schedule=None, default_args=TASK_DEFAULTS):
        task = BaseOperator(task_id="any")
    assert (task.owner, task.retries, task.retry_delay) == ("windrow", 3, timedelta(seconds=30))
    assert isinstance(task.retry_policy, ErrorPolicy)
    assert task.has_retry_policy
    explain, note, *alerts = task.on_failure_callback
    assert (explain, note) == (explain_failure, note_failure)
    assert [type(alert) for alert in alerts] == [WebhookAlert, EmailAlert]
    assert list(task.on_retry_callback) == [explain_retry]


def test_pauses_between_tries_grow_to_a_bound():
    with DAG("any", schedule=None, default_args=TASK_DEFAULTS):
        task = BaseOperator(task_id="any")
    assert task.retry_exponential_backoff == 2.0
    assert task.retry_delay < task.max_retry_delay <= timedelta(minutes=10)


def test_a_task_may_override_each():
    with DAG("any", schedule=None, default_args=TASK_DEFAULTS):
        assert BaseOperator(task_id="any", retries=0, owner="me").retries == 0


def test_the_sql_folder_holds_the_sql():
    folder = Path(SQL_FOLDER)
    assert folder.is_absolute()
    assert list(folder.glob("bigquery/*/*/*.sql"))
