"""The table `harvest_status`, for people who never open Airflow: one row for each interval of each stream.

The class is the contract of the table; for Athena, or for both warehouses, change `into`. The rows are those of the
page Harvest. Without the Airflow connection `windrow_airflow`, they are those of a terminal.
"""

from windrow.airflow.dags import harvest_dag
from windrow.airflow.operators.status import StageStatusOperator
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared
from windrow.model.contract import Column, Kind
from windrow.model.table import Table, Warehouse


class HarvestStatus(Declared):
    """One record for each interval of each stream: is it complete?"""

    dataset = "harvest_status"
    get = "/windrow/harvest/snapshot"
    rows = Rows()
    may_be_empty = True
    columns = (
        Column("stream", "stream", Kind.STRING, "Name of the stream.", required=True),
        Column("due_at", "due_at", Kind.TIMESTAMP, "When the run of the interval was due.", required=True),
        Column("dag_id", "dag_id", Kind.STRING, "Id of the DAG."),
        Column("run_id", "run_id", Kind.STRING, "Id of the newest run of the interval; empty if there was none."),
        Column("state", "state", Kind.STRING, "complete, incomplete, missing, ... as on the page.", required=True),
        Column("why", "why", Kind.STRING, "Why it is in this state."),
        Column("planned", "planned", Kind.INTEGER, "Calls that were planned."),
        Column("done", "done", Kind.INTEGER, "Calls that are done."),
        Column("missing", "missing", Kind.INTEGER, "Calls without an answer."),
        Column("quarantined", "quarantined", Kind.INTEGER, "Answers in the quarantine."),
        Column("gaps", "gaps", Kind.INTEGER, "Calls for which the API says that there is nothing."),
        Column("merged", "merged", Kind.INTEGER, "Records of the run in the table."),
        Column("watermark", "watermark", Kind.STRING, "Up to where data is complete."),
        Column("agrees", "agrees", Kind.BOOLEAN, "Whether all counts of the receipt agree."),
        Column("seen_at", "seen_at", Kind.TIMESTAMP, "When this was seen.", required=True),
    )
    table = Table(
        key=("stream", "due_at"),
        newest_by=("seen_at",),
        partition="due_at",
        description="The state of each interval of each stream.",
    )


dag = harvest_dag(
    HarvestStatus,
    conn_id="windrow_airflow",
    into=Warehouse.BIGQUERY,
    schedule="20 5,11,17,23 * * *",  # each run keeps all rows in MongoDB until housekeeping deletes them
    stage=lambda: StageStatusOperator(task_id="stage", dataset=HarvestStatus.dataset),
    tags=["operations"],
)
