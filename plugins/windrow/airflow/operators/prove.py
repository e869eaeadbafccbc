"""prove: count records in every system, and fail if the counts do not agree."""

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, Context

from windrow.airflow.hooks.bigquery import ask, connect
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


class ProveStep(HarvestStep):
    """A step that writes the receipt of a run, also to the events of its outlets, and moves the watermark.

    :param watermark: the asset that stores the watermark for the next run.
    """

    advice = "The tables are written. Fix the cause, then clear this task."

    def __init__(self, *, watermark: Asset | None = None, **kwargs: Any) -> None:
        if watermark is not None:
            kwargs["outlets"] = [*kwargs.get("outlets", ()), watermark]
        super().__init__(**kwargs)
        self.watermark = watermark
        self._figures: Figures = {}

    def publish(self, context: Context, state: Staging, figures: Figures, verdict: Figures) -> Figures:
        """Write the receipt of the run and its warnings, and return the figures with those that it has in addition."""
        run = self.run_of(context)
        notes = state.notes(run)
        found, warnings = warn(context, state, run, notes)
        figures |= found
        state.note(run, "receipt", figures)
        self._figures = figures
        state.note(run, "verdict", verdict | {"warnings": warnings})
        self.log.info("Receipt of %s, run %s:\n%s", run.dataset, run.run_id, as_text(figures))
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = figures
        return figures

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the answers and the receipt. Airflow's OpenLineage provider calls this, if it is configured."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        receipt = openlineage.receipt_of(self.stream, task_instance.run_id, self._figures)
        return openlineage.lineage([openlineage.answers(self.mongo_conn_id, self.stream)], [], receipt)

    def move_watermark(self, context: Context, state: Staging, figures: Figures) -> None:
        """Set the watermark for the next run. It never moves back, and only moves after all checks have passed."""
        if figures.get(NOTHING_NEW):
            self.log.info("Nothing new: the API returned no record for this run.")
        if self.watermark is None or not self.follows_watermark(context):
            return
        reached = str(figures.get(WATERMARK) or "")
        if figures.get(NOTHING_NEW):
            reached = str(state.notes(self.run_of(context)).get(WATERMARK, {}).get(REACHED, ""))
        before = self.watermark_of(context, self.watermark)
        if _comparable(reached) > _comparable(before):
            context["asset_state_store"][self.watermark].set(WATERMARK, reached)
            self.log.info("Watermark moved from %s to %s.", before or "(none)", reached)


class ProveOperator(ProveStep):
    """Counts the records of a run in every system, and fails if the counts do not agree.

    :param to: the bucket of the landing; ``prefix`` is the folder in it.
    :param sql: a BigQuery query that returns one row: the integers ``loaded``, ``merged``, ``total``, and further
        columns for the receipt; strings are logged, each on its own line. The column ``watermark`` is the watermark
        for the next run.
    :param max_gaps: how many queries the API may answer with "not found".
    :param is_only: whether the counts are the receipt of the run. Where other warehouses are counted too, a
        `ProveAllOperator` writes it.
    :returns: the figures of the receipt.
    """

    template_fields = (*HarvestStep.template_fields, "to", "prefix", "sql", "max_gaps", "gcp_conn_id", "aws_conn_id")
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012 - Airflow declares it so
    template_ext = (".sql",)

    def __init__(
        self,
        *,
        to: str,
        prefix: str,
        sql: str,
        max_gaps: int | str = 0,
        is_only: bool = True,
        gcp_conn_id: str = "google_cloud_default",
        aws_conn_id: str = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.prefix = prefix
        self.sql = sql
        self.max_gaps = max_gaps
        self.is_only = is_only
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
            figures = receipt.figures(notes) | warehouse | self.more(notes)
            if receipt.manifest.records == 0:
                figures[NOTHING_NEW] = True
            if self.is_only:
                figures = self.publish(context, state, figures, receipt.verdict())
            else:
                self._figures = figures
                state.note(run, proof_of(self.task_id), {"figures": figures, "verdict": receipt.verdict()})
                self.log.info("Counts of %s, run %s:\n%s", run.dataset, run.run_id, as_text(figures))
            receipt.prove()
            if self.is_only:
                self.move_watermark(context, state, figures)
        return figures

    def more(self, notes: Mapping[str, Figures]) -> Figures:
        """Return further figures for the receipt, from the notes of the run's steps."""
        return {}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the landed files, the final table and the receipt. See `ProveStep`."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        found = super().get_openlineage_facets_on_complete(task_instance)
        table = self.table(self._figures.get("merged"))
        return openlineage.lineage([openlineage.files(self.to, self.prefix)], [table], found.run_facets)

    def table(self, rows: int | None) -> Any:
        """Return the final table for OpenLineage.

        :param rows: how many rows the run has merged.
        """
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        return openlineage.bigquery_table(self.gcp_conn_id, self.stream, rows)

    def warehouse(self) -> Figures:
        """Run the counting query."""
        return count_in_warehouse(self.gcp_conn_id, self.sql)


class ProveAllOperator(ProveStep):
    """Writes the receipt of a run whose records are in several warehouses. In each of them the counts agree.

    The watermark is that of the warehouse that has the earliest one.

    :param proofs: the ids of the tasks that counted, one for each warehouse, by the name of the warehouse.
    :returns: the figures of the receipt. ``table_bigquery`` is the number of records in the final table of BigQuery.
    """

    def __init__(self, *, proofs: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proofs = proofs

    def execute(self, context: Context) -> Figures:
        """Write the receipt."""
        with staging(self.mongo_conn_id, self.dataset) as state:
            notes = state.notes(self.run_of(context))
            found = {name: notes[proof_of(task_id)] for name, task_id in self.proofs.items()}
            receipts: list[Figures] = [one["figures"] for one in found.values()]
            figures = {name: value for receipt in receipts for name, value in receipt.items()}
            figures |= {name: min(receipt[name] for receipt in receipts) for name in ("loaded", "merged", "table")}
            figures |= {f"table_{name}": one["figures"]["table"] for name, one in found.items()}
            if marks := [str(receipt[WATERMARK]) for receipt in receipts if WATERMARK in receipt]:
                figures[WATERMARK] = min(marks, key=_comparable)
            figures = self.publish(context, state, figures, next(iter(found.values()))["verdict"])
            self.move_watermark(context, state, figures)
        return figures


def proof_of(task_id: str) -> str:
    """Return the name of the note that has the counts of one of several warehouses."""
    return f"proof {task_id}"


NOTHING_NEW = "nothing_new"
"""Figure of a receipt: the API returned no record."""
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
    (row,) = ask(connect(gcp_conn_id), sql)
    return {name: value for name, value in row.items() if value is not None}
