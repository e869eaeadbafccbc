"""### Requests of people to see the body of an answer

Each run is one request, with the user who triggered it. The pages *Quarantine* and *Find a key* trigger it, and then
show the body to this user for ten minutes. Bodies can hold personal data: grant the permission to trigger this DAG only
to people who may see them. Nothing else needs it.

| task | does | safe to clear |
|---|---|---|
| `record` | stores who asked to see which body, as an event of the stream; it reads no body | yes, for the same user |
"""

from airflow.sdk import dag

from windrow.airflow.operators.body import ShowBodyOperator, body_params
from windrow.airflow.operators.defaults import TASK_DEFAULTS


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=4,
    tags=["harvest"],
    is_paused_upon_creation=False,
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params=body_params(),
)
def harvest_bodies() -> None:  # noqa: D103 - the module's text is the DAG's
    ShowBodyOperator(task_id="record")


harvest_bodies()
