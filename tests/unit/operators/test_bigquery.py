"""SQL files as jobs: the text that is sent is the rendered file."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound

from windrow.airflow.operators.bigquery import SqlFileOperator, SqlOperator


def sent(path: str, folder: Path, **context: Any) -> str:
    """The SQL of the job, rendered as Airflow does it: out of the template, with the DAG's search path."""
    jinja = Environment(  # noqa: S701 - SQL is no HTML, and Airflow escapes nothing either
        loader=FileSystemLoader(folder), undefined=StrictUndefined
    )
    operator = SqlFileOperator(task_id="merge", path=path)
    assert "configuration" in operator.template_fields
    return jinja.from_string(operator.configuration["query"]["query"]).render(context)


def test_the_file_is_sent_with_its_templates_filled(tmp_path: Path):
    (tmp_path / "passengers").mkdir()
    (tmp_path / "passengers" / "merge.sql").write_text("SELECT '{{ run_id }}' -- it's 100%\n")
    assert sent("passengers/merge.sql", tmp_path, run_id="manual__1") == "SELECT 'manual__1' -- it's 100%"


def test_a_file_that_is_not_there_is_no_empty_statement(tmp_path: Path):
    with pytest.raises(TemplateNotFound, match=r"merge\.sql"):
        sent("merge.sql", tmp_path)


def test_the_job_is_standard_sql_and_runs_again_when_it_is_cleared():
    operator = SqlFileOperator(task_id="merge", path="a/b.sql", gcp_conn_id="cloud", location="EU")
    assert operator.configuration["query"]["useLegacySql"] is False
    assert operator.durable is False
    assert (operator.path, operator.gcp_conn_id, operator.location) == ("a/b.sql", "cloud", "EU")


def test_mapped_statements_take_turns_too_unless_the_dag_says_otherwise():
    """BigQuery queues 20 statements for a table: 50 mapped merges would fail. Airflow asks `partial`, not the task."""
    turns = SqlOperator.partial(task_id="merge").expand(sql=["SELECT 1", "SELECT 2"])
    together = SqlFileOperator.partial(task_id="marts", max_active_tis_per_dag=4).expand(path=["a.sql", "b.sql"])
    assert (turns.max_active_tis_per_dag, together.max_active_tis_per_dag) == (1, 4)
