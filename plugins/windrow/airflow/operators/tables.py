"""Steps on tables that are the same in every warehouse: prepare the final table, audit the landed records."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from windrow.airflow.operators.plausible import require_plausible
from windrow.model.errors import CheckFailed
from windrow.model.plan import Run


class TableStep(BaseOperator):
    """A step that runs short statements in the warehouse of a stream's table.

    :param dataset: the dataset of the stream.
    """

    def __init__(self, *, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset

    @abstractmethod
    def ask(self, sql: str) -> Iterable[Mapping[str, Any]]:
        """Run a short statement, and return its rows."""


class PrepareStep(TableStep):
    """Creates the table of a stream, or adds what is new in the contract to an existing one.

    A new column is added, and a type is widened. Past rows have null in a new column until the task ``land`` of their
    run is cleared with all tasks downstream: it reads the stored answers again, without a call.

    :param create: the statements that create what does not exist.
    :returns: the statements that changed the table.
    """

    advice = "The table was not changed. Do what the message says, then clear this task with all tasks downstream."
    template_fields: Sequence[str] = ("create",)
    template_fields_renderers = {"create": "sql"}  # noqa: RUF012 - Airflow declares it so

    def __init__(self, *, create: Sequence[str], **kwargs: Any) -> None:
        # concurrent runs, as those of a backfill, must not change the table at the same time
        super().__init__(**{"max_active_tis_per_dag": 1, **kwargs})
        self.create = create

    @abstractmethod
    def changes(self) -> list[str]:
        """Return the statements that bring the table to the contract.

        :raises SchemaConflict: a column of the table does not match the contract.
        """

    def execute(self, context: Context) -> list[str]:
        """Create or change the table.

        :raises SchemaConflict: a column of the table does not match the contract.
        """
        for statement in self.create:
            self.ask(statement)
        statements = self.changes()
        for statement in statements:
            self.log.info("The contract of %s has changed: %s", self.dataset, statement)
            try:
                self.ask(statement)
            except Exception:  # another account of the same table may have been quicker
                if statement in self.changes():
                    raise
        return statements


class AuditStep(TableStep):
    """Checks the landed records of a run before they are merged, and compares them with earlier runs.

    What is not plausible is a warning, or fails the task if the stream says so and no person has accepted it.

    :param sql: a query that returns one row, in which every column must be true.
    :param contradiction: a query that returns a key with different rows, if there is one; empty for no such check.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of the harvest.
    """

    advice = "The final table was not changed. Compare the failed check with its landing table."
    template_fields: Sequence[str] = ("sql", "contradiction")
    template_fields_renderers = {"sql": "sql", "contradiction": "sql"}  # noqa: RUF012 - Airflow declares it so

    def __init__(
        self, *, sql: str, contradiction: str = "", mongo_conn_id: str = "mongo_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.contradiction = contradiction
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> None:
        """Check and compare.

        :raises CheckFailed: a check does not hold, a key has different rows, or the rows are not plausible.
        """
        (row,) = self.ask(self.sql)
        if untrue := untrue_of(row):
            raise CheckFailed(
                f"The landed rows of {self.dataset} do not pass these checks: {', '.join(untrue)}.",
                advice="The final table was not changed. Inspect the landing table, and correct the declaration or the "
                "check. Then clear this task with all tasks downstream.",
            )
        for row in self.ask(self.contradiction) if self.contradiction else ():
            shown = ", ".join(f"{name} = {str(value)!r:.60}" for name, value in row.items() if name != "_key")
            raise CheckFailed(
                f"The answer to {row['_key']!r} of {self.dataset} has different rows with one key: {shown}.",
                advice="The final table was not changed. Add a column to 'key' of the table, or name in 'newest_by' "
                "what says which row is newer. Then clear this task with all tasks downstream.",
            )
        require_plausible(Run(self.dataset, context["run_id"], self.dag_id), self.mongo_conn_id)


def untrue_of(row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a row that are not true. Athena returns texts."""
    return sorted(name for name, value in row.items() if str(value).lower() != "true")
