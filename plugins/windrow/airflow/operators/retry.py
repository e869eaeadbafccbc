"""Which error makes a task retry: `windrow.model.policy.TASK_POLICY` and the clouds' own errors, for Airflow."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from botocore.exceptions import ClientError
from google.api_core.exceptions import BadRequest, Forbidden, NotFound

from windrow.model.policy import TASK_POLICY, TaskRule

CLOUD_POLICY = (
    TaskRule(BadRequest, None, "the cloud says the request itself is wrong: a file, a schema, a statement"),
    TaskRule(Forbidden, None, "the account of the connection may not do this"),
    TaskRule(NotFound, None, "something that is named is not there"),
)
"""Errors of Google's clients that asking again does not cure."""

FINAL_AT_AWS = {
    *("AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"),
    *("InvalidRequestException", "InvalidInputException", "ValidationException", "EntityNotFoundException"),
    *("NoSuchBucket", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue"),
}
"""Codes of AWS for what asking again does not cure; it tells all else by the same class of error."""

_TOO_MUCH = {"rateLimitExceeded", "quotaExceeded", "jobRateLimitExceeded"}
"""Reasons of BigQuery for which it says 403 as it does for missing rights, and which do pass."""


class ErrorPolicy(RetryPolicy):
    """Retries what may get better by itself, and fails at once where a person has to act."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Find the first rule whose error this is; without one the task's own settings hold."""
        for rule in (*TASK_POLICY, *CLOUD_POLICY):
            if isinstance(exception, rule.error) and not _is_too_much_at_once(exception):
                if rule.delay is None:
                    return RetryDecision.fail(reason=rule.why)
                return RetryDecision.retry(delay=rule.delay, reason=rule.why)
        if isinstance(exception, ClientError) and exception.response["Error"]["Code"] in FINAL_AT_AWS:
            return RetryDecision.fail(reason="AWS says that the request itself is wrong, or may not be made")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Describe the policy for the serialized DAG; it has no settings."""
        return {}


def _is_too_much_at_once(error: BaseException) -> bool:
    return isinstance(error, Forbidden) and any(one.get("reason") in _TOO_MUCH for one in error.errors)
