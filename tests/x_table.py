"""Posts in the warehouse, for tests: the SQL files of x run as the DAG runs them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
from google.cloud import bigquery

from local_cloud.settings import PROJECT_ID
from windrow.model.plan import slug
from windrow.sources.x.streams import Posts, post_id_at

SQL = Path(__file__).resolve().parents[1] / "include" / "sql" / "bigquery" / "x"
NOW = datetime.now(UTC).replace(microsecond=0)
MARTS = ("by_minute", "by_hour", "by_rule", "hashtags", "accounts")


def run(warehouse: bigquery.Client, file: str, run_id: str = "one", **context: str) -> list[dict[str, Any]]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - SQL, no HTML
    environment.filters["slug"] = slug
    environment.globals["prefix"] = lambda: ""
    text = environment.from_string((SQL / file).read_text()).render(run_id=run_id, **context)
    return [dict(row) for row in warehouse.query_and_wait(text)]


def post(number: int, fetched_at: datetime = NOW, *, age: timedelta = timedelta(0), **changes: Any) -> dict[str, Any]:
    """Make a record of a post that is so old; a deletion with text=None and deleted_at."""
    post_id = str(post_id_at(NOW - age) + number)
    record = dict.fromkeys(column.name for column in Posts.contract.columns) | {
        "post_id": post_id,
        "created_at": (NOW - age).isoformat(),
        "text": f"tesla {number}",
        "author_id": "1",
        "lang": "en",
        "_extra": None,
        "_key": "stream",
        "_fetched_at": fetched_at.isoformat(),
        "_run_id": "one",
    }
    return record | changes


def deletion(number: int, fetched_at: datetime = NOW) -> dict[str, Any]:
    return post(number, fetched_at, text=None, author_id=None, lang=None, deleted_at=fetched_at.isoformat())


def withholding(number: int, fetched_at: datetime = NOW) -> dict[str, Any]:
    return post(number, fetched_at, text=None, author_id=None, lang=None, withheld_in="DE FR")


def load(warehouse: bigquery.Client, table: str, *rows: dict[str, Any], disposition: str = "WRITE_TRUNCATE") -> None:
    schema = [bigquery.SchemaField.from_api_repr(field) for field in Posts.contract.bigquery_fields]
    config = bigquery.LoadJobConfig(schema=schema, write_disposition=disposition)
    warehouse.load_table_from_json(rows, f"{PROJECT_ID}.{table}", job_config=config).result()


def land(warehouse: bigquery.Client, *rows: dict[str, Any], run_id: str = "one") -> None:
    load(warehouse, f"windrow_landing.x_posts_{slug(run_id)}", *rows)


def merge(warehouse: bigquery.Client, *rows: dict[str, Any], run_id: str = "one") -> None:
    land(warehouse, *rows, run_id=run_id)
    run(warehouse, "posts/merge.sql", run_id)
