"""Airflow's retry decisions, by error."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from airflow.providers.google.cloud.operators.bigquery import BigQueryCheckOperator, BigQueryInsertJobOperator
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from google.api_core import exceptions as google
from google.cloud.bigquery.job.base import _error_result_to_exception as job_error_of_client

from windrow.airflow.operators.defaults import TASK_DEFAULTS
from windrow.airflow.operators.failure import story
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.model import errors
from windrow.model.cloud_policy import ATHENA_POLICY, AWS_POLICY, CHECK_POLICY, GOOGLE_POLICY, WORKER_POLICY
from windrow.model.policy import TASK_POLICY, TaskRule

MODELS = Loader()


def decide(error: BaseException) -> RetryDecision:
    return ErrorPolicy().evaluate(error, 1, 3)


def make(kind: type[Exception]) -> Exception:
    """An error of this kind, made without its constructor: the policy goes by the kind alone."""
    return kind.__new__(kind)


@pytest.mark.parametrize("rule", TASK_POLICY, ids=lambda rule: rule.error.__name__)
def test_every_rule_of_the_table_is_followed(rule: TaskRule):
    decision = decide(make(rule.error))
    assert decision.reason == rule.why
    if rule.delay is None:
        assert decision.action is RetryAction.FAIL
    else:
        assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, rule.delay)


@pytest.mark.parametrize("kind", [errors.BadParameter, errors.ConnectionUnusable, errors.CredentialsRejected])
def test_a_rule_holds_for_the_kinds_below_its_error(kind: type[Exception]):
    assert decide(make(kind)).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyboardInterrupt(), make(errors.Interrupted), make(errors.WarehouseBusy), google.Conflict("x")],
)
def test_other_errors_follow_the_settings_of_the_task(error: BaseException):
    assert decide(error) == RetryDecision.default()


@pytest.mark.parametrize("try_number", [1, 2, 3, 4])
def test_the_number_of_the_try_is_airflows_business(try_number: int):
    assert ErrorPolicy().evaluate(make(errors.ApiUnreachable), try_number, 3).action is RetryAction.RETRY


RESULTS = {
    "backendError": 500,
    "badGateway": 502,
    "duplicate": 409,
    "internalError": 500,
    "jobBackendError": 400,
    "jobInternalError": 400,
    "jobRateLimitExceeded": 400,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "tableUnavailable": 400,
}
"""Temporary reasons of BigQuery, with the HTTP status that its documentation names."""
FINAL = {
    "accessDenied": 403,
    "attributeError": 400,
    "badRequest": 400,
    "billingNotEnabled": 403,
    "billingTierLimitExceeded": 400,
    "bytesBilledLimitExceeded": 500,
    "blocked": 403,
    "invalid": 400,
    "invalidQuery": 400,
    "invalidUser": 400,
    "notFound": 404,
    "notImplemented": 501,
    "policyViolation": 403,
    "proxyAuthenticationRequired": 407,
    "resourceInUse": 400,
    "resourcesExceeded": 400,
    "responseTooLarge": 403,
    "stopped": 200,
    "timeout": 400,
    "usageQuotaExceeded": 403,
}
BY_MESSAGE = [
    (True, "invalidQuery", 400, "Could not serialize access to table d.t due to concurrent update"),
    (True, "invalidQuery", 400, "Query error: Transaction is aborted due to concurrent update against table d.t"),
    (True, "resourcesExceeded", 400, "Too many DML statements outstanding against table d.t, limit is 20."),
    (True, "badRequest", 400, "UPDATE or DELETE statement over table d.t would affect rows in the streaming buffer"),
    (True, "notFound", 404, "Not found: Job p:US.airflow_1"),
    (True, "quotaExceeded", 403, "Quota exceeded: Your table exceeded quota for imports or query appends per table."),
    (False, "quotaExceeded", 403, "Quota exceeded: Your project exceeded quota for free query bytes scanned."),
    (False, "quotaExceeded", 403, "Custom quota exceeded: Your usage exceeded the custom quota for QueryUsagePerDay"),
]
"""Whether it is temporary, where the message of BigQuery decides; with reason and status."""
REASONS = [
    *((True, reason, status, "-") for reason, status in RESULTS.items()),
    *((False, reason, status, "-") for reason, status in FINAL.items()),
    *BY_MESSAGE,
]
AWS_TEMPORARY = [
    *("InternalFailure", "RequestAbortedException", "RequestTimeoutException", "ServiceUnavailable"),
    *("Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled"),
    *("TooManyRequestsException", "InternalError", "OperationAborted", "RequestTimeout", "SlowDown"),
    *("InternalServerException", "AlreadyExistsException", "ConcurrentModificationException"),
    *("CrawlerRunningException", "CrawlerStoppingException", "FederationSourceRetryableException"),
    *("InternalServiceException", "OperationTimeoutException", "ResourceNotReadyException"),
    *("VersionMismatchException", "InternalServerError", "LimitExceededException"),
    *("ProvisionedThroughputExceededException", "ReplicatedWriteConflictException", "ResourceInUseException"),
    *("TransactionConflictException", "TransactionInProgressException", "ItemCollectionSizeLimitExceededException"),
    *("BandwidthLimitExceeded", "PriorRequestNotComplete", "RequestThrottledException", "ThrottledException"),
    *("IncompleteBody", "BadDigest", "IDPCommunicationError", "KmsThrottled", "OverLimit"),
    *("MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidIdFormat"),
]
AWS_FINAL = [
    *("AccessDenied", "AccessDeniedException", "MissingAuthenticationTokenException", "NotAuthorized"),
    *("OptInRequired", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId"),
    *("InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "RequestExpired"),
    *("RequestTimeTooSkewed", "ValidationError", "ValidationException", "EntityTooLarge", "InvalidBucketName"),
    *("NoSuchBucket", "NoSuchKey", "InvalidRequestException", "EntityNotFoundException"),
    *("GlueEncryptionException", "InvalidInputException", "ResourceNumberLimitExceededException"),
    *("ConditionalCheckFailedException", "ResourceNotFoundException", "IncompleteSignatureException"),
    *("AccountProblem", "AllAccessDisabled", "InvalidToken", "MetadataException", "FederationSourceException"),
    *("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress", "InvalidAttributeName"),
    *("InvalidMessageContents", "InvalidSecurity", "KmsAccessDenied", "KmsDisabled", "KmsInvalidKeyUsage"),
    *("KmsInvalidState", "KmsNotFound", "KmsOptInRequired", "UnsupportedOperation", "InvalidStateException"),
    *("MalformedHttpRequestException", "RequestEntityTooLargeException", "UnknownOperationException"),
    *("IDPRejectedClaim", "InvalidIdentityToken", "MalformedPolicyDocument", "PackedPolicyTooLarge"),
    *("RegionDisabledException", "InvalidPayer", "NotSignedUp", "TokenRefreshRequired", "InvalidArgument"),
    *("InvalidRequest", "KeyTooLongError", "MethodNotAllowed", "NotImplemented", "PermanentRedirect"),
    *("EncryptionTypeMismatch", "InvalidWriteOffset", "TooManyParts", "InvalidObjectState", "PreconditionFailed"),
]
CALLED = {
    "athena": ["StartQueryExecution", "GetQueryExecution", "GetQueryResults", "StopQueryExecution"],
    "dynamodb": ["PutItem", "GetItem", "Scan", "DeleteItem", "DescribeTable", "CreateTable"],
    "glue": ["GetTable", "GetTables", "GetCrawler", "StartCrawler"],
    "s3": [
        *("PutObject", "GetObject", "HeadObject", "ListObjectsV2", "DeleteObject"),
        *("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
    ],
    "sqs": [
        *("GetQueueUrl", "ReceiveMessage", "DeleteMessage", "SendMessage", "GetQueueAttributes"),
        "ChangeMessageVisibility",
    ],
    "sts": ["AssumeRole", "AssumeRoleWithWebIdentity"],
}
"""The operations of AWS that tasks call, also through Airflow's providers, by service."""
TEMPORARY_STATUSES = (408, 429, 500, 502, 503, 504, 507)


def action(*, temporary: bool) -> RetryAction:
    return RetryAction.RETRY if temporary else RetryAction.FAIL


OPERATORS = (
    BigQueryInsertJobOperator(task_id="merge", configuration={}),
    GCSToBigQueryOperator(
        task_id="load", bucket="b", source_objects=["o"], destination_project_dataset_table="d.t", autodetect=False
    ),
    BigQueryCheckOperator(task_id="audit", sql="SELECT FALSE", use_legacy_sql=False),
)


def job_error(operator: Any, result: dict[str, str]) -> AirflowException:
    """What an operator of the Google provider raises for a job that failed."""
    with pytest.raises(AirflowException) as raised:
        operator._handle_job_error(SimpleNamespace(job_id="airflow_1", error_result=result, errors=[], state="DONE"))
    return raised.value


@pytest.mark.parametrize(("temporary", "reason", "status", "message"), REASONS)
def test_bigquery_is_judged_by_the_reason_that_it_documents(temporary: bool, reason: str, status: int, message: str):
    """In an answer of its API, in a failed job, and in what the operators say about a failed job."""
    result = {"reason": reason, "message": message}
    answer = google.from_http_status(status, message, errors=[result])
    job = job_error_of_client(result)
    told = [job_error(operator, result) for operator in OPERATORS]
    for error in (answer, job, google.RetryError("Timeout of 600.0s exceeded", answer), *told):
        assert decide(error).action is action(temporary=temporary), repr(error)


@pytest.mark.parametrize("code", [*AWS_TEMPORARY, *AWS_FINAL])
def test_aws_is_judged_by_the_code_that_it_documents(code: str):
    response = {"Error": {"Code": code, "Message": "-"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    assert decide(ClientError(response, "Call")).action is action(temporary=code in AWS_TEMPORARY)


@pytest.mark.parametrize("status", [*TEMPORARY_STATUSES, 400, 401, 403, 404, 412, 413])
def test_an_error_without_a_reason_is_judged_by_its_status(status: int):
    """Cloud Storage says no more in most cases, nor does a proxy. AWS uses 400 for throttling too."""
    assert decide(google.from_http_status(status, "-")).action is action(temporary=status in TEMPORARY_STATUSES)
    aws = ClientError({"Error": {"Code": str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}}, "HeadObject")
    assert decide(aws).action is (RetryAction.RETRY if status in TEMPORARY_STATUSES else RetryAction.DEFAULT)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, RetryAction.FAIL),
        (grpc.StatusCode.NOT_FOUND, RetryAction.FAIL),
        (grpc.StatusCode.UNAVAILABLE, RetryAction.RETRY),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RetryAction.RETRY),
        (grpc.StatusCode.DEADLINE_EXCEEDED, RetryAction.RETRY),
        (grpc.StatusCode.ABORTED, RetryAction.DEFAULT),
    ],
)
def test_an_error_of_grpc_is_judged_by_its_status(status: grpc.StatusCode, wanted: RetryAction):
    """Its `errors` are not those of a JSON API, on which the policy failed: a missing permission was tried again."""
    failed = grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), details="-")
    assert decide(google.from_grpc_error(failed)).action is wanted


def test_the_athena_operator_is_judged_by_the_reason_of_athena():
    begins = "Final state of Athena job is FAILED, query_execution_id is 0. Error: "
    assert decide(AirflowException(begins + "HIVE_CANNOT_OPEN_SPLIT: Slow Down")).action is RetryAction.RETRY
    assert decide(AirflowException(begins + "SYNTAX_ERROR")).action is RetryAction.DEFAULT


def test_a_failed_check_is_not_tried_again():
    with pytest.raises(AirflowException) as raised:
        OPERATORS[-1]._validate_records([False])
    assert decide(raised.value).action is RetryAction.FAIL


FULL = [
    "500 POST http://127.0.0.1/upload/storage/v1/b/lake/o: [Errno 28] No space left on device",
    'IO Error: Could not write file "/var/bq.db": No space left on device',
    "mkdir /export/lake/.minio.sys: no space left on device",
    "[Errno 122] Disk quota exceeded: '/var/lake/o'",
    "database or disk is full",
]


@pytest.mark.parametrize("said", FULL)
def test_a_full_disk_is_named_wherever_it_is(said: str):
    code = {"Error": {"Code": "InternalError", "Message": said}, "ResponseMetadata": {"HTTPStatusCode": 500}}
    job = job_error(OPERATORS[0], {"reason": "invalidQuery", "message": said})
    athena = AirflowException(f"Final state of Athena job is FAILED, query_execution_id is 0. Error: {said}")
    for error, whose in (
        (google.InternalServerError(said), "Google Cloud"),
        (job, "Google Cloud"),
        (ClientError(code, "PutObject"), "AWS"),
        (athena, "Athena"),
        (OSError(28, said), "the worker"),
    ):
        decision = decide(error)
        assert decision.action is RetryAction.RETRY, repr(error)
        assert decision.reason.startswith(f"{whose} ")
        assert decision.reason.endswith(": its disk is full")
        instance = SimpleNamespace(task_id="load", task=None)
        line = story({"task_instance": instance, "run_id": "r", "exception": error})  # type: ignore[typeddict-item]
        assert "What to do: Free space on this disk" in line


def test_a_store_of_minio_that_is_full_is_named():
    response = {"Error": {"Code": "XMinioStorageFull", "Message": "-"}, "ResponseMetadata": {"HTTPStatusCode": 507}}
    assert "its disk is full" in str(decide(ClientError(response, "PutObject")).reason)


def test_only_a_longer_term_quota_has_a_pause_of_its_own():
    """BigQuery asks for ten minutes; for all others the pause of the task grows."""
    assert TASK_DEFAULTS["retry_exponential_backoff"] > 1
    pauses = {rule.reason or rule.text: rule.pause for rule in GOOGLE_POLICY + AWS_POLICY + ATHENA_POLICY if rule.pause}
    assert pauses == dict.fromkeys(("streaming buffer", "quotaExceeded"), timedelta(minutes=10))
    quota = google.Forbidden("-", errors=[{"reason": "quotaExceeded"}])
    assert decide(quota).retry_delay == timedelta(minutes=10)
    assert decide(google.ServiceUnavailable("-")).retry_delay is None


def test_sqs_is_judged_by_its_documented_code_too():
    """Its client gives the code of the former protocol, here that of KMS, as the code of the error."""
    answer = {
        "status_code": 400,
        "headers": {"x-amzn-query-error": "KMS.ThrottlingException;Sender"},
        "body": b'{"__type": "com.amazonaws.sqs#KmsThrottled", "message": "-"}',
    }
    read = create_parser("json").parse(answer, None)
    assert read["Error"]["Code"] == "KMS.ThrottlingException"
    assert decide(ClientError(read, "SendMessage")).action is RetryAction.RETRY


def legacy_rules() -> Iterator[dict[str, Any]]:
    """What the AWS client tries again in its default mode, for all services and for those that tasks call."""
    table = MODELS.load_data("_retry")
    defaults = table["retry"]["__default__"]["policies"].values()
    yield from (table["definitions"][rule["$ref"]]["applies_when"].get("response", {}) for rule in defaults)
    for service in CALLED.keys() & table["retry"].keys():
        for rule in table["retry"][service]["__default__"]["policies"].values():
            yield rule["applies_when"]["response"]


def test_what_the_client_of_aws_tries_again_is_temporary():
    """In its standard mode, and in its default mode."""
    codes = {*ThrottledRetryableChecker._THROTTLED_ERROR_CODES, *TransientRetryableChecker._TRANSIENT_ERROR_CODES}
    statuses = {*TransientRetryableChecker._TRANSIENT_STATUS_CODES}
    for rule in legacy_rules():
        code, status = rule.get("service_error_code"), rule.get("http_status_code")
        if code or status:
            (codes if code else statuses).add(code or status)
    assert {"SlowDown", "BadDigest"} <= codes
    assert {503, 509} <= statuses
    rules = {rule.reason: rule.transient for rule in AWS_POLICY}
    missing = [code for code in codes | {*map(str, statuses)} if not rules.get(code)]
    assert missing == ["EC2ThrottledException"], "tasks do not call EC2"


@pytest.mark.parametrize("service", CALLED)
def test_each_error_that_the_model_of_an_aws_service_documents_is_in_the_table(service: str):
    """A new version of the client that knows a new one fails here."""
    model = ServiceModel(MODELS.load_service_model(service, "service-2"))
    rules = {rule.reason: rule.transient for rule in AWS_POLICY}
    for operation in CALLED[service]:
        for shape in model.operation_model(operation).error_shapes:
            code = shape.metadata.get("error", {}).get("code", shape.name)
            assert code in rules, f"{service} {operation}"
            if shape.metadata.get("retryable") or shape.metadata.get("fault"):
                assert rules[code], f"{code} is temporary, says {service}"


def test_each_server_error_that_s3_documents_is_temporary():
    documented = MODELS.load_service_model("s3", "service-2")["shapes"]["Error"]["members"]["Code"]["documentation"]
    words = re.sub(r"<[^>]+>|\s+", " ", documented)
    faults = re.findall(r"Code: +(\w+) +(?:(?!Code: ).)*HTTP Status Code: +5\d\d", words)
    assert {"InternalError", "ServiceUnavailable", "SlowDown"} <= {*faults}
    assert {*faults} - {*AWS_TEMPORARY} == {"NotImplemented"}


def test_what_the_clients_of_google_try_again_is_temporary():
    from google.cloud.bigquery import retry
    from google.cloud.bigquery.job.base import _ERROR_REASON_TO_EXCEPTION
    from google.cloud.storage.retry import _RETRYABLE_STATUS_CODES

    rules = {rule.reason: rule.transient for rule in GOOGLE_POLICY}
    again = {*retry._RETRYABLE_REASONS, *retry.job_retry_reasons, *map(str, map(int, _RETRYABLE_STATUS_CODES))}
    assert again >= {"backendError", "jobBackendError", "503"}
    assert [reason for reason in again if not rules.get(reason)] == []
    assert _ERROR_REASON_TO_EXCEPTION.keys() - rules.keys() == set()


def test_every_rule_is_tested_and_has_a_source_and_says_what_to_do():
    tested = {*RESULTS, *FINAL, *AWS_TEMPORARY, *AWS_FINAL, *map(str, TEMPORARY_STATUSES), "Retryable", ""}
    for rule in GOOGLE_POLICY + AWS_POLICY + ATHENA_POLICY + CHECK_POLICY + WORKER_POLICY:
        assert rule.reason in tested | {"400", "401", "403", "404", "412", "413", "509"}, rule
        assert rule.reason or rule.text, rule
        assert rule.source.startswith("https://"), rule
        assert rule.do.endswith("."), rule


def test_the_policy_can_be_serialized_with_its_dag():
    assert json.loads(json.dumps(ErrorPolicy().serialize())) == {}
    assert bool(ErrorPolicy()), "Airflow looks at a policy only if it is true"
