"""### Watch all harvests: tell people of problems

| task | does | safe to clear |
|---|---|---|
| `watch` | sends new problems, those that became worse, and those that are over | yes; it looks again |

It sends to the webhook of the Airflow connection `windrow_alerts` and by e-mail with `windrow_email`. For a chat, add a
notifier of Airflow: `WatchOperator(notifiers=[SlackNotifier(text="{{ windrow_alert }}")])`.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag

from windrow.airflow.operators.defaults import TASK_DEFAULTS
from windrow.airflow.operators.watch import WatchOperator


@dag(
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["operations"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS | {"retries": 1, "execution_timeout": timedelta(minutes=5)},
)
def harvest_watch() -> None:  # noqa: D103 - the module's text is the DAG's
    WatchOperator(task_id="watch")


harvest_watch()
