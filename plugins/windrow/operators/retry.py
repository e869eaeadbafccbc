"""The table `windrow.policy.TASK_POLICY` as Airflow takes it."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from windrow.policy import TASK_POLICY


class ErrorPolicy(RetryPolicy):
    """Retries what may get better by itself, and fails at once where a person has to act."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Find the first rule whose error this is; without one the task's own settings hold."""
        for rule in TASK_POLICY:
            if isinstance(exception, rule.error):
                if rule.delay is None:
                    return RetryDecision.fail(reason=rule.why)
                return RetryDecision.retry(delay=rule.delay, reason=rule.why)
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Describe the policy for the serialized DAG; it has no settings."""
        return {}
