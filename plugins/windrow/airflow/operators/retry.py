"""Decides which errors Airflow retries: `windrow.model.policy.TASK_POLICY` and the errors of the cloud clients."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from botocore.exceptions import ClientError
from google.api_core.exceptions import BadRequest, Forbidden, NotFound

from windrow.model.policy import TASK_POLICY, TaskRule

CLOUD_POLICY = (
    TaskRule(BadRequest, None, "Google Cloud rejected the request as invalid: check the file, schema or statement"),
    TaskRule(Forbidden, None, "the account of the Airflow connection does not have permission"),
    TaskRule(NotFound, None, "a resource in the request does not exist"),
)
"""Errors of Google's clients that a retry does not fix."""

FINAL_AT_AWS = {
    *("AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"),
    *("InvalidRequestException", "InvalidInputException", "ValidationException", "EntityNotFoundException"),
    *("NoSuchBucket", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue"),
}
"""Error codes of AWS that a retry does not fix. AWS uses one class for all errors."""

_TOO_MUCH = {"rateLimitExceeded", "quotaExceeded", "jobRateLimitExceeded"}
"""Reasons for which BigQuery answers 403, as for missing permissions, but which are temporary."""


class ErrorPolicy(RetryPolicy):
    """Retries temporary errors, and fails at once if a person must act."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Apply the first rule that matches the error; without one, use the settings of the task."""
        for rule in (*TASK_POLICY, *CLOUD_POLICY):
            if isinstance(exception, rule.error) and not _is_too_much_at_once(exception):
                if rule.delay is None:
                    return RetryDecision.fail(reason=rule.why)
                return RetryDecision.retry(delay=rule.delay, reason=rule.why)
        if isinstance(exception, ClientError) and exception.response["Error"]["Code"] in FINAL_AT_AWS:
            return RetryDecision.fail(reason="AWS rejected the request as invalid or not permitted")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Describe the policy for the serialized DAG; it has no settings."""
        return {}


def _is_too_much_at_once(error: BaseException) -> bool:
    return isinstance(error, Forbidden) and any(one.get("reason") in _TOO_MUCH for one in error.errors)
