"""Tickets of a help desk: a search by POST with a cursor in the body, for changes since the last run.

The connection `desk` has the host and the API key:
AIRFLOW_CONN_DESK='{"conn_type": "http", "host": "https://desk.example.com",
"extra": {"auth": "header_key", "header": "X-Api-Key", "api_key": "change-me"}}'
"""

from datetime import timedelta

from windrow.airflow.dags import harvest_dag
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared
from windrow.declare.times import Since
from windrow.model.contract import Column, Kind
from windrow.model.paging import Cursor
from windrow.model.table import Table


class Tickets(Declared):
    """One record for each version of a ticket."""

    dataset = "desk_tickets"
    post = "/v2/tickets/search"
    body = {"filter": {"updated_since": "{since}"}, "limit": 20}
    time = Since(first="2020-01-01T00:00:00Z", overlap=timedelta(minutes=5))
    paging = Cursor(field="next_cursor", param="cursor", in_body=True, rows="results")
    rows = Rows("results")
    columns = (
        Column("ticket_id", "id", Kind.STRING, "Id of the ticket.", required=True),
        Column("subject", "subject", Kind.STRING, "Subject."),
        Column("status", "status", Kind.STRING, "open, pending or closed."),
        Column("requester_id", "requester.id", Kind.INTEGER, "Id of the person who asked."),
        Column("amount", "amount.value", Kind.NUMERIC, "Amount."),
        Column("currency", "amount.currency", Kind.STRING, "Currency of the amount."),
        Column("created_at", "created_at", Kind.TIMESTAMP, "When it was created.", required=True),
        Column("updated_at", "updated_at", Kind.TIMESTAMP, "When it was last changed.", required=True),
        Column("is_deleted", "deleted", Kind.BOOLEAN, "Whether it was deleted.", required=True),
    )
    table = Table(
        key=("ticket_id",), newest_by=("updated_at",), watermark="updated_at", description="Tickets, one row each."
    )


dag = harvest_dag(Tickets, conn_id="desk", schedule="*/30 * * * *")
