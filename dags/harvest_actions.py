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

**Who may trigger `harvest_actions` may act on the streams of all DAGs**: grant it like an administrator's right. For a
team with rights on its own DAGs, name these in `OF_DAGS` of `dags/harvest_actions.py`: each gets a DAG
`harvest_actions__<dag>`, which replays runs of that DAG and accepts their gaps, refuses all others, and stops nothing.
Grant the team that one.

After a replay, clear `land` of the harvest's run with all tasks downstream: the tables get the rows. The page and
`windrow replay` do it.
"""

from airflow.sdk import DAG

from windrow.airflow.operators.action import ActionOperator, action_params
from windrow.airflow.operators.defaults import TASK_DEFAULTS
from windrow.harvest.actions import dag_for

OF_DAGS: tuple[str, ...] = ()
"""DAGs for which there are actions of their own, like ("shop_orders",)."""

for of_dag in ("", *OF_DAGS):
    with DAG(
        dag_for(of_dag),
        schedule=None,
        catchup=False,
        max_active_runs=4,
        tags=["harvest"],
        is_paused_upon_creation=False,  # a paused DAG would let an emergency stop wait
        doc_md=__doc__,
        default_args=TASK_DEFAULTS,
        params=action_params(of_dag),
    ) as dag:
        ActionOperator(task_id="act", of_dag=of_dag)
