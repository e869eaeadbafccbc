"""Compute one metric in two warehouses, and compare the results."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from windrow.airflow.hooks.athena import Athena
from windrow.airflow.hooks.bigquery import ask, connect
from windrow.airflow.operators.athena import RESULTS
from windrow.model.errors import BadParameter, CheckFailed

_LANDED = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<prefix>.*/dt=(?P<dt>[^/]+)/run=(?P<run>[^/]+))/?")


class LocateLandingOperator(BaseOperator):
    """Finds the landing for a run: from the event that started it, or from its param ``landed``.

    :returns: XComs: ``bucket``, ``prefix``, ``dt``, ``run``.
    """

    advice = "Nothing was changed: this only finds the files of a run. Clear this task with all tasks downstream."

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)

    def execute(self, context: Context) -> dict[str, str]:
        """Read the last event, or the param."""
        events = [event for events in context["triggering_asset_events"].values() for event in events]
        landed = str(context["params"].get("landed") or (events[-1].extra.get("landed") if events else ""))
        found = _LANDED.fullmatch(landed)
        if found is None:
            raise BadParameter(
                f"{landed!r} is not the folder of a landing.",
                advice="Use a folder like s3://bucket/spotify/artists/dt=2026-01-02/run=scheduled_1, from a receipt.",
            )
        return found.groupdict()


class MetricsAgreeOperator(BaseOperator):
    """Computes a metric in Athena and in BigQuery, and compares the rows.

    Fractions agree if they differ by less than a millionth; all other values must be equal.

    :param athena: a file below ``include/sql`` for Athena, and ``bigquery`` one for BigQuery: the same columns.
    :returns: the rows.
    """

    advice = "Nothing was changed. Compare the metric in the two warehouses; the log has its rows."
    template_fields: Sequence[str] = ("athena", "bigquery", "results", "aws_conn_id", "gcp_conn_id")

    def __init__(
        self,
        *,
        athena: str,
        bigquery: str,
        results: str = RESULTS,
        aws_conn_id: str = "aws_default",
        gcp_conn_id: str = "google_cloud_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.athena = f"{{% include '{athena}' %}}"
        self.bigquery = f"{{% include '{bigquery}' %}}"
        self.results = results
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Compare.

        :raises CheckFailed: the metrics differ; the message has the first different rows.
        """
        one = [_shown(row) for row in Athena(self.aws_conn_id, self.results).ask(self.athena)]
        other = [_shown(dict(row.items())) for row in ask(connect(self.gcp_conn_id), self.bigquery)]
        different = [pair for pair in zip(one, other, strict=False) if not _agree(*pair)]
        if different or len(one) != len(other) or not one:
            raise CheckFailed(
                f"Athena returned {len(one)} rows and BigQuery {len(other)}; {len(different)} of them differ. "
                f"The first, in Athena and in BigQuery: {different[:1] or (one[:1], other[:1])}.",
                advice="Both read the same files: compare the types of the columns, and the two SQL files.",
            )
        return one


def _shown(row: Mapping[str, object]) -> dict[str, str]:
    """Write the values of a row as text, in lower case."""
    return {name: "" if value is None else str(value).lower() for name, value in row.items()}


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: str, other: str) -> bool:
    if one == other or not {".", "e"} & set(one + other):
        return one == other
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-6)
    except ValueError:
        return False
