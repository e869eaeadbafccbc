"""### Actions of people on harvests

Each run is one action, with the user who triggered it. The Harvest page and the command `windrow` trigger it; by hand:

`airflow dags trigger harvest_actions --conf '{"action": "stop", "connection": "shop", "note": "their disk is full"}'`

| action | does |
|---|---|
| `replay` | reads quarantined answers of a run again, and calls again what needs a call |
| `accept_gap`, `undo_gap` | accept that queries of a run have no answer; undo it |
| `stop`, `resume` | stop all calls to an API at once, in all runs; let them go on |

| task | does | safe to clear |
|---|---|---|
| `act` | the action; then records who did what, with which result | yes; a replay makes only missing calls |

After a replay, clear `land` of the harvest's run with all tasks downstream: the tables get the rows. The page and
`windrow replay` do it.
"""

from airflow.sdk import dag

from windrow.airflow.operators.action import ActionOperator, action_params
from windrow.airflow.operators.defaults import TASK_DEFAULTS


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=4,
    tags=["harvest"],
    is_paused_upon_creation=False,  # a paused DAG would let an emergency stop wait
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params=action_params(),
)
def harvest_actions() -> None:  # noqa: D103 - the module's text is the DAG's
    ActionOperator(task_id="act")


harvest_actions()
