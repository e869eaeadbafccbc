"""Decides which errors Airflow retries: `windrow.model.policy.TASK_POLICY`, then `windrow.model.cloud_policy`."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from windrow.airflow.cloud_errors import rule_of
from windrow.model.policy import TASK_POLICY


class ErrorPolicy(RetryPolicy):
    """Retries temporary errors, and fails at once if a person must act."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Apply the first rule that matches the error; without one, use the settings of the task.

        A rule without a pause of its own uses the growing pauses of the task.
        """
        for rule in TASK_POLICY:
            if isinstance(exception, rule.error):
                if rule.delay is None:
                    return RetryDecision.fail(reason=rule.why)
                return RetryDecision.retry(delay=rule.delay, reason=rule.why)
        cloud = rule_of(exception)
        if cloud is None:
            return RetryDecision.default()
        if cloud.transient:
            return RetryDecision.retry(delay=cloud.pause, reason=str(cloud))
        return RetryDecision.fail(reason=str(cloud))

    def serialize(self) -> dict[str, Any]:
        """Describe the policy for the serialized DAG; it has no settings."""
        return {}
