"""dispatch: choose whether Airflow or a queue makes the calls."""

from collections.abc import Mapping
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import Context


class DispatchOperator(BaseBranchOperator):
    """Follows the branch of the param ``dispatch``.

    :param branches: the first task of each branch, or its first tasks, by the value of the param.
    """

    advice = "No call was made. Fix the cause, then clear this task with all tasks downstream."

    def __init__(self, *, branches: Mapping[str, str | list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branches = branches

    def choose_branch(self, context: Context) -> str | list[str]:
        """Return the ids of the first tasks of the branch."""
        return self.branches[str(context["params"]["dispatch"])]
