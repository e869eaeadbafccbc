"""Stock of a shop's sites: a CSV export for each site, without ids, so that each run replaces the table.

The calls are made once, and the rows are loaded into BigQuery and into Athena. With ``into=Warehouse.ATHENA`` they are
loaded into Athena only. Athena needs the Airflow variable `windrow_s3_bucket` and the connection `aws_default`.

The API allows 200 exports a day, and tells in no header how many are left. The connection `stock` has the host, the
login and the password:
AIRFLOW_CONN_STOCK='{"conn_type": "http", "host": "https://stock.example.com", "login": "export",
"password": "change-me", "extra": {"auth": "basic"}}'
"""

from windrow.airflow.dags import harvest_dag
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared, Each
from windrow.model.contract import Column, Kind
from windrow.model.formats import Csv
from windrow.model.quota import Period, Quota
from windrow.model.table import Table, Warehouse, Write


class StockLevels(Declared):
    """One record for each line of an export. Two lines may be equal."""

    dataset = "stock_levels"
    get = "/export/{site.code}.csv"
    each = Each("site", listed_by="/sites", rows=Rows("sites"), key="code")
    format = Csv(delimiter=";", charset="iso-8859-1")
    quotas = (Quota("stock.exports", Period.of("day Europe/Berlin"), 200, ("/export/",)),)
    columns = (
        Column("site", "{site.code}", Kind.STRING, "Code of the site.", required=True),
        Column("product", "Product", Kind.STRING, "Name of the product.", required=True),
        Column("quantity", "Quantity", Kind.INTEGER, "Pieces.", required=True),
        Column("price", "Price", Kind.NUMERIC, "Price of a piece, in euros."),
        Column("counted_at", "Counted", Kind.TIMESTAMP, "When.", format="%d.%m.%Y %H:%M", zone="Europe/Berlin"),
    )
    table = Table(write=Write.REPLACE, cluster=("site", "product"), description="Stock, one row for each line.")


dag = harvest_dag(StockLevels, conn_id="stock", schedule="30 5 * * *", into=(Warehouse.BIGQUERY, Warehouse.ATHENA))
