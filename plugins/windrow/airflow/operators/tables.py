"""The step from landed files to checked records, the same in every warehouse."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from windrow.airflow.operators.plausible import require_plausible
from windrow.model.errors import CheckFailed
from windrow.model.plan import Run


class LoadStep(BaseOperator):
    """Loads the landed records of a run into its own landing table, and checks them there, before they are merged.

    First it creates the final table, or adds what is new in the contract to an existing one. A new column is added,
    and a type is widened. Past rows have null in a new column until the task ``land`` of their run is cleared with all
    tasks downstream: it reads the stored answers again, without a call.

    The loaded records are compared with earlier runs. What is not plausible is a warning, or fails the task if the
    stream says so and no person has accepted it.

    Only one run at a time executes the task: concurrent runs, as those of a backfill, must not change the final table
    at the same time.

    :param dataset: the dataset of the stream.
    :param create: the statements that create what does not exist.
    :param audit: a query on the loaded records that returns one row, in which every column must be true.
    :param contradiction: a query that returns a key with different rows, if there is one; empty for no such check.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of the harvest.
    :returns: the statements that changed the final table.
    """

    advice = (
        "The landed files are kept, and the final table has none of their records yet. Fix the cause, then clear this "
        "task with all tasks downstream."
    )
    template_fields: Sequence[str] = ("create", "audit", "contradiction")
    template_fields_renderers = {"create": "sql", "audit": "sql", "contradiction": "sql"}  # noqa: RUF012 - Airflow declares it so

    def __init__(
        self,
        *,
        dataset: str,
        create: Sequence[str],
        audit: str,
        contradiction: str = "",
        mongo_conn_id: str = "mongo_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"max_active_tis_per_dag": 1, **kwargs})
        self.dataset = dataset
        self.create = create
        self.audit = audit
        self.contradiction = contradiction
        self.mongo_conn_id = mongo_conn_id

    @abstractmethod
    def ask(self, sql: str) -> Iterable[Mapping[str, Any]]:
        """Run a short statement, and return its rows."""

    @abstractmethod
    def changes(self) -> list[str]:
        """Return the statements that bring the final table to the contract.

        :raises SchemaConflict: a column of the table does not match the contract.
        """

    @abstractmethod
    def load(self, context: Context) -> None:
        """Load the landed files of the run, in place of what its landing table has."""

    def execute(self, context: Context) -> list[str]:
        """Prepare, load, check.

        :raises SchemaConflict: a column of the final table does not match the contract; nothing was loaded.
        :raises CheckFailed: see `check`.
        """
        statements = self.prepare()
        self.load(context)
        self.check(context)
        return statements

    def prepare(self) -> list[str]:
        """Create or change the final table, and return the statements that changed it.

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

    def check(self, context: Context) -> None:
        """Check the loaded records, and compare them with earlier runs.

        :raises CheckFailed: a check does not hold, a key has different rows, or the rows are not plausible.
        """
        (row,) = self.ask(self.audit)
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
