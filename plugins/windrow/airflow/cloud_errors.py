"""The rule of `windrow.model.cloud_policy` for an exception of a cloud client or of a provider's operator."""

import re

from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.cloud.storage.exceptions import InvalidResponse  # type: ignore[import-untyped]

from windrow.model.cloud_policy import (
    ATHENA_POLICY,
    AWS_POLICY,
    CHECK_POLICY,
    GOOGLE_POLICY,
    WORKER_POLICY,
    CloudRule,
    find,
)

_JOB_FAILED = re.compile(r"BigQuery job \S+ failed: .*'reason': '(\w+)'", re.DOTALL)
"""What the operators of the Google provider say about a failed job. They put its ``error_result`` into the message."""
_LONGEST = 300
"""Characters of an answer."""
_QUERY_FAILED = re.compile("Final state of Athena job")
"""What the operators of the Amazon provider say about a failed query."""


def rule_of(error: object) -> CloudRule | None:
    """Return the rule for an error; None if it is not from a cloud service, or the service documents nothing for it."""
    match error:
        case RetryError():  # Google's client has tried again for minutes; its last error decides
            return rule_of(error.cause)
        case InvalidResponse():  # the last error of an upload or a download
            return find(GOOGLE_POLICY, [str(error.response.status_code)], text_of(error))
        case GoogleAPICallError():
            # an error of gRPC has other objects in `errors`
            reasons = [one["reason"] for one in error.errors if isinstance(one, dict) and "reason" in one]
            return find(GOOGLE_POLICY, [*reasons, str(error.code)], str(error))
        case ClientError():
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            codes = error.response["Error"]
            # SQS has a code of its former protocol in `Code`, and the documented one in `QueryErrorCode`
            return find(AWS_POLICY, [codes["Code"], codes.get("QueryErrorCode", ""), str(status)], str(error))
        case AirflowException():
            return _rule_of_text(str(error))
        case OSError():
            return find(WORKER_POLICY, [], str(error))
    return None


def text_of(error: object) -> str:
    """Return what an error says, with the answer of Cloud Storage where its client leaves it out."""
    last = error.cause if isinstance(error, RetryError) else error
    if isinstance(last, InvalidResponse):
        return f"{error}; Cloud Storage answered: {last.response.text[:_LONGEST]}"
    return str(error)


def _rule_of_text(message: str) -> CloudRule | None:
    job = _JOB_FAILED.match(message)
    if job:
        return find(GOOGLE_POLICY, [job[1]], message)
    if _QUERY_FAILED.match(message):
        return find(ATHENA_POLICY, [], message)
    return find(CHECK_POLICY, [], message)
