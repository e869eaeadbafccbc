"""prove: count records in every system, and fail if the counts do not agree."""

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, Context

from windrow.airflow.hooks.bigquery import ask
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.alert import send
from windrow.airflow.operators.base import REACHED, WATERMARK, HarvestStep
from windrow.landing.files import Manifest
from windrow.landing.receipt import Receipt, Staged, as_text
from windrow.model.plan import Run
from windrow.model.redact import blot
from windrow.store.staging import Figures, Staging

log = logging.getLogger(__name__)


class ProveOperator(HarvestStep):
    """Writes the receipt of a run, also to the events of its outlets, and fails if the counts do not agree.

    :param to: the bucket of the landing; ``prefix`` is the folder in it.
    :param sql: a BigQuery query that returns one row: the integers ``loaded``, ``merged``, ``total``, and further
        columns for the receipt; strings are logged, each on its own line.
    :param watermark: the asset that stores the watermark for the next run, from the column ``watermark`` of the query.
    :param max_gaps: how many queries the API may answer with "not found".
    :returns: the figures of the receipt.
    """

    advice = "The tables are written. Fix the cause, then clear this task."
    template_fields = (*HarvestStep.template_fields, "to", "prefix", "sql", "max_gaps", "gcp_conn_id", "aws_conn_id")
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012 - Airflow declares it so
    template_ext = (".sql",)

    def __init__(
        self,
        *,
        to: str,
        prefix: str,
        sql: str,
        watermark: Asset | None = None,
        max_gaps: int | str = 0,
        gcp_conn_id: str = "google_cloud_default",
        aws_conn_id: str = "aws_default",
        **kwargs: Any,
    ) -> None:
        if watermark is not None:
            kwargs["outlets"] = [*kwargs.get("outlets", ()), watermark]
        super().__init__(**kwargs)
        self.watermark = watermark
        self.to = to
        self.prefix = prefix
        self.sql = sql
        self.max_gaps = max_gaps
        self.gcp_conn_id = gcp_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Figures:
        """Count, write the receipt, and check it.

        :raises CountsDisagree: the counts do not agree.
        """
        run = self.run_of(context)
        warehouse = self.warehouse()
        counts = {name: int(str(warehouse.pop(name))) for name in ("loaded", "merged", "total")}
        with staging(self.mongo_conn_id, self.dataset) as state:
            plan = state.plan(run)
            receipt = Receipt(
                plan=plan,
                staged=Staged.count(state, plan),
                manifest=Manifest.read(open_store(self.to, self.gcp_conn_id, self.aws_conn_id), self.prefix),
                **counts,
                max_gaps=int(self.max_gaps),
                one_record_an_answer=self.stream.one_record_an_answer,
            )
            notes = state.notes(run)
            is_empty = receipt.manifest.records == 0
            figures = (
                receipt.figures(notes) | warehouse | self.more(notes) | ({"nothing_new": True} if is_empty else {})
            )
            found, warnings = warn(context, state, run, notes)
            figures |= found
            state.note(run, "receipt", figures)
            state.note(run, "verdict", receipt.verdict() | {"warnings": warnings})
        self.log.info("Receipt of %s, run %s:\n%s", run.dataset, run.run_id, as_text(figures))
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = figures
        receipt.prove()
        reached = str(warehouse.get(WATERMARK) or "")
        if is_empty:
            reached = str(notes.get(WATERMARK, {}).get(REACHED, ""))
            self.log.info("Nothing new: the API returned no record for this run.")
        self._move_watermark(context, reached)
        return figures

    def more(self, notes: Mapping[str, Figures]) -> Figures:
        """Return further figures for the receipt, from the notes of the run's steps."""
        return {}

    def _move_watermark(self, context: Context, reached: str) -> None:
        """Set the watermark for the next run. It never moves back, and only moves after all checks have passed."""
        if self.watermark is None or not self.follows_watermark(context):
            return
        before = self.watermark_of(context, self.watermark)
        if _comparable(reached) > _comparable(before):
            context["asset_state_store"][self.watermark].set(WATERMARK, reached)
            self.log.info("Watermark moved from %s to %s.", before or "(none)", reached)

    def warehouse(self) -> Figures:
        """Run the counting query."""
        return count_in_warehouse(self.gcp_conn_id, self.sql)


_SHOWN = 20
"""Fields, or warnings, that a receipt names."""


def warn(context: Context, state: Staging, run: Run, notes: Mapping[str, Figures]) -> tuple[Figures, list[str]]:
    """Store unknown fields as warnings, and alert once of each warning.

    :returns: the figures for the receipt, and the first warnings of this run that are open, as texts.
    """
    found = notes.get("profile", {}).get("unknown_fields", ())
    state.warn(run, {name: f"unknown field in {rows:,} rows, kept in _extra" for name, rows in found})
    open_ = [one for one in state.warnings(run.dataset) if one.run_id == run.run_id and not one.accepted_at]
    if new := [one for one in open_ if not one.alerted_at]:
        listed = "; ".join(f"{one.name}: {one.text}" for one in new[:_SHOWN])
        more = f"; and {len(new) - _SHOWN:,} more" if len(new) > _SHOWN else ""
        text = blot(
            f"{len(new):,} new warnings of {run.dataset}, run {run.run_id!r}: {listed}{more} | What to do: nothing "
            f"is lost. Correct the declaration, or run: windrow accept {run.dataset}"
        )
        log.warning("%s", text)
        send(context, text)
        state.mark(new, "alerted_at")
    figures = unknown_fields(notes) | ({"warnings": len(open_)} if open_ else {})
    return figures, [f"{one.name}: {one.text}" for one in open_[:_SHOWN]]


def unknown_fields(notes: Mapping[str, Figures]) -> Figures:
    """Return the fields that the contract does not know, each with the number of rows that have it."""
    found = notes.get("profile", {}).get("unknown_fields", ())
    listed = ", ".join(f"{name} {rows:,}" for name, rows in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return {"unknown_fields": f"{listed}{more}"} if found else {}


def _comparable(mark: str) -> str:
    """Return a watermark in the form of BigQuery: a stream writes instants as in RFC 3339."""
    return mark.replace("T", " ").replace("Z", "+00")


def count_in_warehouse(gcp_conn_id: str, sql: str) -> Figures:
    """Run a query that returns one row. Columns with null are left out."""
    (row,) = ask(gcp_conn_id, sql)
    return {name: value for name, value in row.items() if value is not None}
