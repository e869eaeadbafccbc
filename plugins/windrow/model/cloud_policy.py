"""Errors of cloud services as data: which are temporary, and which need a person.

There is a table for Google Cloud, one for AWS, one for failed queries of Athena and one for failed checks. The reasons
are those that the services document; ``source`` says where. `find` returns the first rule that matches. A test compares
the tables with what the locked clients of Google and AWS know of their services.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

_LATER = (
    "No action needed while tries remain: the error is temporary. After the last try, check the status page and the "
    "quotas of the service."
)
BIGQUERY_ERRORS = "https://cloud.google.com/bigquery/docs/error-messages"
BIGQUERY_QUOTAS = "https://cloud.google.com/bigquery/docs/troubleshoot-quotas"
BIGQUERY_QUERIES = "https://cloud.google.com/bigquery/docs/troubleshoot-queries"
BIGQUERY_CUSTOM_QUOTAS = "https://cloud.google.com/bigquery/docs/custom-quotas"
BIGQUERY_COSTS = "https://cloud.google.com/bigquery/docs/best-practices-costs"
BIGQUERY_CLIENT = "https://github.com/googleapis/python-bigquery, google/cloud/bigquery/retry.py"
GCS_ERRORS = "https://cloud.google.com/storage/docs/retry-strategy"
AWS_ERRORS = "https://docs.aws.amazon.com/awsconsolehelpdocs/latest/gsg/common-errors.html"
BOTOCORE = "https://github.com/boto/botocore, botocore/retries/standard.py"
BOTOCORE_LEGACY = "https://github.com/boto/botocore, botocore/data/_retry.json"
S3_PUT = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"
S3_ERRORS = "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
ATHENA_API = "https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html"
ATHENA_METADATA = "https://docs.aws.amazon.com/athena/latest/APIReference/API_GetTableMetadata.html"
ATHENA_QUERY = "https://docs.aws.amazon.com/athena/latest/APIReference/API_AthenaError.html"
ATHENA_SLOW_DOWN = "https://repost.aws/knowledge-center/hive-cannot-open-split-503-athena"
ATHENA_ICEBERG = "https://repost.aws/knowledge-center/athena-iceberg-table-error"
ATHENA_TUNING = "https://docs.aws.amazon.com/athena/latest/ug/performance-tuning.html"
GLUE_THROTTLING = "https://repost.aws/knowledge-center/glue-throttling-rate-exceeded"
GLUE_ERRORS = "https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-exceptions.html"
DYNAMODB_ERRORS = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html"
SQS_ERRORS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"
SQS_VISIBILITY = (
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html"
)
STS_ERRORS = "https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"

INSUFFICIENT_STORAGE = "https://www.rfc-editor.org/rfc/rfc4918#section-11.5"


@dataclass(frozen=True, slots=True)
class CloudRule:
    """What an error of a cloud service means for a task.

    ``reason`` is the name that the service gives the error, or the HTTP status; empty for any. The rule is only for
    messages that contain ``text``. ``pause`` replaces the growing pauses of the task where the service names one.
    """

    service: str
    reason: str
    transient: bool
    why: str
    do: str
    source: str
    text: str = ""
    pause: timedelta | None = None

    def __str__(self) -> str:
        return f"{self.service} {self.reason or repr(self.text)}: {self.why}"


def _passes(
    service: str,
    reason: str,
    why: str,
    source: str,
    *,
    do: str = _LATER,
    text: str = "",
    pause: timedelta | None = None,
) -> CloudRule:
    return CloudRule(service, reason, True, why, do, source, text, pause)


def _stays(service: str, reason: str, why: str, source: str, *, do: str, text: str = "") -> CloudRule:
    return CloudRule(service, reason, False, why, do, source, text)


def find(policy: tuple[CloudRule, ...], reasons: Collection[str], message: str = "") -> CloudRule | None:
    """Return the first rule for one of these reasons whose ``text`` is in the message; None if no rule matches."""
    return next((rule for rule in policy if rule.reason in {"", *reasons} and rule.text in message), None)


_BQ, _GOOGLE = "BigQuery", "Google Cloud"
_GRANT = "Give the account of the Airflow connection this permission."
_NAMES = "Check the names and the location in the message, and the Airflow variables of this DAG."
_SQL = "Fix the SQL or its table; the message names the place."
_SPLIT = "Make the statement read or return less, for example by running it for fewer days."
_BYTES = "Raise the maximum of bytes billed, or make the statement read less, for example by running it for fewer days."
_BILLING = "Enable billing for the project, or wait until the free quota is renewed."
_WRITER = "Look for a second writer."
_CUSTOM = "Raise the custom quota of the project, or clear the task after midnight in California."

_FREE = "Free space on this disk, or enlarge it. All that was written is kept, and the next try writes the rest."

DISK_FULL = {
    "space left on device": "https://man7.org/linux/man-pages/man3/errno.3.html, ENOSPC",
    "Disk quota exceeded": "https://man7.org/linux/man-pages/man3/errno.3.html, EDQUOT",
    "disk is full": "https://www.sqlite.org/rescode.html, SQLITE_FULL",
    "OutOfDiskSpace": "https://www.mongodb.com/docs/manual/reference/error-codes/",
    "XMinioStorageFull": "https://github.com/minio/minio, cmd/api-errors.go",
}
"""What a system says whose disk is full, and the page that documents it. The clouds' buckets and tables do not fill;
what replaces them may: S3 of another vendor, or a database that you run."""


def _fills(service: str) -> tuple[CloudRule, ...]:
    """Return the rules for a service, or something that replaces it, whose disk is full."""
    return tuple(
        CloudRule(service, "", True, "its disk is full", _FREE, source, text) for text, source in DISK_FULL.items()
    )


WORKER_POLICY = _fills("the worker")
"""By the message of an `OSError`."""
GOOGLE_POLICY: tuple[CloudRule, ...] = (
    *_fills(_GOOGLE),
    _passes(_GOOGLE, "507", "the service has no space left", INSUFFICIENT_STORAGE),
    # the same reason can mean several things; the message decides
    _passes(_BQ, "", "another job changes the same table", BIGQUERY_QUERIES, text="due to concurrent update"),
    _passes(_BQ, "", "the queue of statements for this table is full", BIGQUERY_QUOTAS, text="Too many DML statements"),
    _passes(
        _BQ,
        "",
        "rows that were just streamed cannot be changed yet",
        BIGQUERY_ERRORS,
        text="streaming buffer",
        pause=timedelta(minutes=10),
    ),
    _passes(_BQ, "notFound", "the job is not visible yet", BIGQUERY_CLIENT, text="Not found: Job"),
    _stays(
        _BQ, "quotaExceeded", "the free quota is used up", BIGQUERY_ERRORS, do=_BILLING, text="free query bytes scanned"
    ),
    _stays(_BQ, "quotaExceeded", "a custom quota is used up", BIGQUERY_ERRORS, do=_CUSTOM, text="Custom quota"),
    _stays(_BQ, "usageQuotaExceeded", "a custom quota is used up", BIGQUERY_CUSTOM_QUOTAS, do=_CUSTOM),
    # temporary
    _passes(_BQ, "backendError", "the service is not available", BIGQUERY_ERRORS),
    _passes(_BQ, "badGateway", "the service is not available", BIGQUERY_CLIENT),
    _passes(_BQ, "internalError", "an internal error", BIGQUERY_ERRORS),
    _passes(_BQ, "jobBackendError", "the job failed with an internal error", BIGQUERY_ERRORS),
    _passes(_BQ, "jobInternalError", "the job failed with an internal error", BIGQUERY_ERRORS),
    _passes(_BQ, "jobRateLimitExceeded", "the job exceeded a short-term limit", BIGQUERY_ERRORS),
    _passes(_BQ, "rateLimitExceeded", "a short-term limit is exceeded", BIGQUERY_QUOTAS),
    _passes(_BQ, "quotaExceeded", "a longer-term quota is exceeded", BIGQUERY_QUOTAS, pause=timedelta(minutes=10)),
    _passes(_BQ, "tableUnavailable", "a table of another team is not available", BIGQUERY_ERRORS),
    _passes(_BQ, "duplicate", "another task created it meanwhile; the next try uses it", BIGQUERY_ERRORS),
    # a person must act
    _stays(_BQ, "accessDenied", "a permission is missing", BIGQUERY_ERRORS, do=_GRANT),
    _stays(_BQ, "attributeError", "user code is wrong", BIGQUERY_ERRORS, do=_SQL),
    _stays(_BQ, "badRequest", "the request is invalid", BIGQUERY_ERRORS, do=_SQL),
    _stays(_BQ, "billingNotEnabled", "the project has no billing", BIGQUERY_ERRORS, do=_BILLING),
    _stays(_BQ, "billingTierLimitExceeded", "the query needs too much CPU", BIGQUERY_ERRORS, do=_SPLIT),
    # it comes with HTTP 500, by which it would be temporary
    _stays(_BQ, "bytesBilledLimitExceeded", "the job would bill more bytes than it may", BIGQUERY_COSTS, do=_BYTES),
    _stays(
        _BQ,
        "blocked",
        "Google blocked the operation",
        BIGQUERY_ERRORS,
        do="Ask the support of Google Cloud for the reason.",
    ),
    _stays(_BQ, "invalid", "the input is invalid", BIGQUERY_ERRORS, do="Check the file, its schema and the table."),
    _stays(_BQ, "invalidQuery", "the SQL is invalid", BIGQUERY_ERRORS, do=_SQL),
    _stays(
        _BQ,
        "invalidUser",
        "the credential is invalid",
        BIGQUERY_ERRORS,
        do="Set a valid key in the Airflow connection.",
    ),
    _stays(_BQ, "notFound", "a resource does not exist", BIGQUERY_ERRORS, do=_NAMES),
    _stays(_BQ, "notImplemented", "the feature does not exist", BIGQUERY_ERRORS, do=_SQL),
    _stays(_BQ, "policyViolation", "a policy of the organization forbids it", BIGQUERY_CLIENT, do=_GRANT),
    _stays(
        _BQ,
        "proxyAuthenticationRequired",
        "the proxy requires a login",
        BIGQUERY_ERRORS,
        do="Set the login in HTTPS_PROXY.",
    ),
    _stays(
        _BQ, "resourceInUse", "the resource is in use", BIGQUERY_ERRORS, do="Empty the dataset before it is deleted."
    ),
    _stays(_BQ, "resourcesExceeded", "the job needs too many resources", BIGQUERY_ERRORS, do=_SPLIT),
    _stays(_BQ, "responseTooLarge", "the result is too large", BIGQUERY_ERRORS, do=_SPLIT),
    _stays(
        _BQ,
        "stopped",
        "a person or a time limit cancelled the job",
        BIGQUERY_ERRORS,
        do="Find out who cancelled it; the audit log of the project says it.",
    ),
    _stays(_BQ, "timeout", "the job took too long", BIGQUERY_ERRORS, do=_SPLIT),
    # errors without a known reason: Cloud Storage, gRPC, proxies
    _passes(_GOOGLE, "408", "the request took too long", GCS_ERRORS),
    _passes(_GOOGLE, "429", "too many requests", GCS_ERRORS),
    _passes(_GOOGLE, "500", "an internal error", GCS_ERRORS),
    _passes(_GOOGLE, "502", "bad gateway", GCS_ERRORS),
    _passes(_GOOGLE, "503", "the service is not available", GCS_ERRORS),
    _passes(_GOOGLE, "504", "gateway timeout", GCS_ERRORS),
    _stays(_GOOGLE, "400", "the request is invalid", GCS_ERRORS, do="Check the file, its schema and the statement."),
    _stays(_GOOGLE, "401", "the credential was rejected", GCS_ERRORS, do="Set a valid key in the Airflow connection."),
    _stays(_GOOGLE, "403", "a permission is missing", GCS_ERRORS, do=_GRANT),
    _stays(_GOOGLE, "404", "a resource does not exist", GCS_ERRORS, do=_NAMES),
    _stays(_GOOGLE, "412", "a condition of the request does not hold", GCS_ERRORS, do=_WRITER),
    _stays(_GOOGLE, "413", "the request is too large", GCS_ERRORS, do=_SPLIT),
)
"""By the ``reason`` of an error, then by its HTTP status. Conflicts (409) without a reason use the task's settings."""

_AWS, _S3, _ATHENA, _GLUE, _DYNAMODB, _SQS, _STS = "AWS", "S3", "Athena", "Glue", "DynamoDB", "SQS", "STS"
_KEY = "Set a valid key in the Airflow connection, or check the role that it assumes."
_SUPPORT = "Ask the support of AWS for the reason."
_KMS = "Enable the KMS key of the queue, or set another one."
_CLOCK = "Set the clock of this machine: AWS allows a difference of 15 minutes."
_ENDPOINT = "Check the region and the endpoint in the extra of the Airflow connection."
_ALLOW = "Allow the action in the message in the IAM policy of the account."
_REQUEST = "Check the value that the message names, in the DAG or the Airflow variable that it comes from."

AWS_POLICY: tuple[CloudRule, ...] = (
    *_fills(_AWS),
    _passes(_AWS, "507", "the service has no space left", INSUFFICIENT_STORAGE),
    # all services
    _passes(_AWS, "InternalFailure", "an internal error", AWS_ERRORS),
    _passes(_AWS, "RequestAbortedException", "the connection was closed", AWS_ERRORS),
    _passes(_AWS, "RequestTimeoutException", "the request took too long", AWS_ERRORS),
    _passes(_AWS, "ServiceUnavailable", "the service is not available", AWS_ERRORS),
    _passes(_AWS, "Throttling", "too many requests", BOTOCORE),
    _passes(_AWS, "ThrottlingException", "too many requests", AWS_ERRORS),
    _passes(_AWS, "BandwidthLimitExceeded", "too many bytes", BOTOCORE),
    _passes(_AWS, "PriorRequestNotComplete", "an earlier request is not complete", BOTOCORE),
    _passes(_AWS, "RequestThrottledException", "too many requests", BOTOCORE),
    _passes(_AWS, "ThrottledException", "too many requests", BOTOCORE),
    _passes(_AWS, "RequestLimitExceeded", "too many requests", BOTOCORE),
    _passes(_AWS, "RequestThrottled", "too many requests", BOTOCORE),
    _passes(_AWS, "TooManyRequestsException", "too many requests", ATHENA_API),
    _stays(_AWS, "AccessDenied", "a permission is missing", S3_ERRORS, do=_ALLOW),
    _stays(_AWS, "AccessDeniedException", "a permission is missing", AWS_ERRORS, do=_ALLOW),
    _stays(_AWS, "MissingAuthenticationTokenException", "the request has no key", DYNAMODB_ERRORS, do=_KEY),
    _stays(_AWS, "NotAuthorized", "a permission is missing", AWS_ERRORS, do=_ALLOW),
    _stays(_AWS, "OptInRequired", "the account has not subscribed to the service", AWS_ERRORS, do=_ALLOW),
    _stays(_AWS, "ExpiredToken", "the session token has expired", S3_ERRORS, do=_KEY),
    _stays(_AWS, "ExpiredTokenException", "the session token has expired", AWS_ERRORS, do=_KEY),
    _stays(_AWS, "IncompleteSignature", "the signature is invalid", AWS_ERRORS, do=_KEY),
    _stays(_AWS, "IncompleteSignatureException", "the signature is invalid", DYNAMODB_ERRORS, do=_KEY),
    _stays(_AWS, "InvalidAccessKeyId", "the key does not exist", S3_ERRORS, do=_KEY),
    _stays(_AWS, "InvalidClientTokenId", "the key does not exist", AWS_ERRORS, do=_KEY),
    _stays(_AWS, "SignatureDoesNotMatch", "the secret does not match the key", S3_ERRORS, do=_KEY),
    # DynamoDB's page allows to try this again; but only a person can set a key that exists
    _stays(_AWS, "UnrecognizedClientException", "the key does not exist", AWS_ERRORS, do=_KEY),
    _stays(_AWS, "RequestExpired", "the request has an old date", AWS_ERRORS, do=_CLOCK),
    _stays(_AWS, "RequestTimeTooSkewed", "the clocks differ", S3_ERRORS, do=_CLOCK),
    _stays(_AWS, "MalformedHttpRequestException", "the request is invalid", AWS_ERRORS, do=_REQUEST),
    _stays(_AWS, "RequestEntityTooLargeException", "the request is too large", AWS_ERRORS, do=_SPLIT),
    _stays(_AWS, "UnknownOperationException", "the operation does not exist", AWS_ERRORS, do=_ENDPOINT),
    _stays(_AWS, "ValidationError", "the request is invalid", AWS_ERRORS, do=_REQUEST),
    _stays(_AWS, "ValidationException", "the request is invalid", DYNAMODB_ERRORS, do=_REQUEST),
    # a role that is assumed
    _passes(_STS, "IDPCommunicationError", "the identity provider cannot be reached", STS_ERRORS),
    _stays(_STS, "IDPRejectedClaim", "the identity provider rejected the token", STS_ERRORS, do=_KEY),
    _stays(_STS, "InvalidIdentityToken", "the web identity token is invalid", STS_ERRORS, do=_KEY),
    _stays(_STS, "MalformedPolicyDocument", "the session policy is invalid", STS_ERRORS, do=_REQUEST),
    _stays(_STS, "PackedPolicyTooLarge", "session policies and tags are too large", STS_ERRORS, do=_REQUEST),
    _stays(_STS, "RegionDisabledException", "STS is not active in this region", STS_ERRORS, do=_ENDPOINT),
    # S3
    _passes(_S3, "BadDigest", "the object was damaged on its way", BOTOCORE_LEGACY),
    _passes(_S3, "InternalError", "an internal error", S3_ERRORS),
    _passes(_S3, "OperationAborted", "another operation changes the same resource", S3_ERRORS),
    _passes(_S3, "RequestTimeout", "the upload was too slow", S3_ERRORS),
    _passes(_S3, "SlowDown", "too many requests", S3_ERRORS),
    _passes(_S3, "IncompleteBody", "the connection was closed during the upload", S3_ERRORS),
    _stays(_S3, "AccountProblem", "the account has a problem", S3_ERRORS, do=_SUPPORT),
    _stays(_S3, "AllAccessDisabled", "all access to the bucket is disabled", S3_ERRORS, do=_SUPPORT),
    _stays(_S3, "InvalidPayer", "all access to the object is disabled", S3_ERRORS, do=_SUPPORT),
    _stays(_S3, "NotSignedUp", "the account has not subscribed to S3", S3_ERRORS, do=_SUPPORT),
    _stays(_S3, "InvalidToken", "the session token is invalid", S3_ERRORS, do=_KEY),
    _stays(_S3, "TokenRefreshRequired", "the session token must be renewed", S3_ERRORS, do=_KEY),
    _stays(_S3, "InvalidArgument", "the request is invalid", S3_ERRORS, do=_REQUEST),
    _stays(_S3, "InvalidRequest", "the request is invalid", S3_ERRORS, do=_REQUEST),
    _stays(_S3, "KeyTooLongError", "the name of the object is too long", S3_ERRORS, do=_NAMES),
    _stays(_S3, "MethodNotAllowed", "the bucket or object does not allow the operation", S3_ERRORS, do=_ENDPOINT),
    _stays(_S3, "NotImplemented", "the service does not have this feature", S3_ERRORS, do=_ENDPOINT),
    _stays(_S3, "PermanentRedirect", "the bucket is in another region", S3_ERRORS, do=_ENDPOINT),
    _stays(_S3, "EncryptionTypeMismatch", "the object has another kind of encryption", S3_PUT, do=_REQUEST),
    _stays(_S3, "InvalidWriteOffset", "the object has another size", S3_PUT, do=_WRITER),
    _stays(_S3, "TooManyParts", "the object has too many parts", S3_PUT, do=_SPLIT),
    _stays(
        _S3,
        "InvalidObjectState",
        "the object is in an archive",
        S3_ERRORS,
        do="Restore the object from the archive, and exclude the folder from the lifecycle rule of the bucket.",
    ),
    _stays(_S3, "PreconditionFailed", "a condition of the request does not hold", S3_ERRORS, do=_WRITER),
    _stays(_S3, "EntityTooLarge", "the object is too large", S3_ERRORS, do=_SPLIT),
    _stays(_S3, "InvalidBucketName", "the name of the bucket is invalid", S3_ERRORS, do=_NAMES),
    _stays(_S3, "NoSuchBucket", "the bucket does not exist", S3_ERRORS, do=_NAMES),
    _stays(_S3, "NoSuchKey", "the object does not exist", S3_ERRORS, do="Clear the task that writes the object."),
    # Athena
    _passes(_ATHENA, "InternalServerException", "an internal error", ATHENA_API),
    _stays(_ATHENA, "MetadataException", "the metadata of a table cannot be read", ATHENA_METADATA, do=_NAMES),
    _stays(_ATHENA, "InvalidRequestException", "the request is invalid", ATHENA_API, do=_REQUEST),
    # Glue
    _passes(_GLUE, "AlreadyExistsException", "another task created it meanwhile; the next try uses it", GLUE_ERRORS),
    _passes(_GLUE, "ConcurrentModificationException", "another task changes the same table", GLUE_ERRORS),
    _passes(_GLUE, "CrawlerRunningException", "the crawler is running", GLUE_ERRORS),
    _passes(_GLUE, "CrawlerStoppingException", "the crawler is stopping", GLUE_ERRORS),
    _passes(_GLUE, "FederationSourceRetryableException", "a connected catalog failed", GLUE_ERRORS),
    _passes(_GLUE, "InternalServiceException", "an internal error", GLUE_ERRORS),
    _passes(_GLUE, "OperationTimeoutException", "the operation took too long", GLUE_ERRORS),
    _passes(_GLUE, "ResourceNotReadyException", "the resource is not ready", GLUE_ERRORS),
    _passes(_GLUE, "VersionMismatchException", "another task changed the same table", GLUE_ERRORS),
    _stays(_GLUE, "EntityNotFoundException", "the database or table does not exist", GLUE_ERRORS, do=_NAMES),
    _stays(_GLUE, "GlueEncryptionException", "an encryption key cannot be used", GLUE_ERRORS, do=_ALLOW),
    _stays(_GLUE, "FederationSourceException", "a connected catalog failed", GLUE_ERRORS, do=_NAMES),
    _stays(_GLUE, "InvalidStateException", "the table is in an invalid state", GLUE_ERRORS, do=_NAMES),
    _stays(_GLUE, "InvalidInputException", "the request is invalid", GLUE_ERRORS, do=_REQUEST),
    _stays(
        _GLUE,
        "ResourceNumberLimitExceededException",
        "the account has too many of these",
        GLUE_ERRORS,
        do="Raise the quota in Service Quotas of AWS, or delete old ones.",
    ),
    # DynamoDB
    _passes(_DYNAMODB, "InternalServerError", "an internal error", DYNAMODB_ERRORS),
    _passes(_DYNAMODB, "LimitExceededException", "too many operations on tables at once", DYNAMODB_ERRORS),
    _passes(
        _DYNAMODB,
        "ProvisionedThroughputExceededException",
        "the table has no capacity left",
        DYNAMODB_ERRORS,
        do="No action needed while tries remain: the error is temporary. If it returns, increase the table's capacity.",
    ),
    _passes(_DYNAMODB, "ReplicatedWriteConflictException", "another region writes the same item", BOTOCORE),
    # the page says no: the same request would fail. But the next try of a task looks first, and uses what is there
    _passes(_DYNAMODB, "ResourceInUseException", "the table is being changed", DYNAMODB_ERRORS),
    _passes(_DYNAMODB, "ItemCollectionSizeLimitExceededException", "items of one key are too large", DYNAMODB_ERRORS),
    _passes(_DYNAMODB, "TransactionInProgressException", "a transaction is not complete", BOTOCORE),
    _passes(_DYNAMODB, "TransactionConflictException", "a transaction has the same item", DYNAMODB_ERRORS),
    _stays(_DYNAMODB, "ConditionalCheckFailedException", "a condition does not hold", DYNAMODB_ERRORS, do=_REQUEST),
    _stays(_DYNAMODB, "ResourceNotFoundException", "the table does not exist", DYNAMODB_ERRORS, do=_NAMES),
    # SQS
    _passes(_SQS, "KmsThrottled", "KMS limits the rate of requests", SQS_ERRORS),
    _passes(_SQS, "OverLimit", "too many messages are in flight", SQS_ERRORS),
    # the next try receives the message again
    _passes(_SQS, "MessageNotInflight", "the message is visible again", SQS_VISIBILITY),
    _passes(_SQS, "ReceiptHandleIsInvalid", "the message was received again", SQS_VISIBILITY),
    _passes(_SQS, "InvalidIdFormat", "the message was received again", SQS_VISIBILITY),
    _stays(_SQS, "AWS.SimpleQueueService.NonExistentQueue", "the queue does not exist", SQS_ERRORS, do=_NAMES),
    _stays(_SQS, "QueueDoesNotExist", "the queue does not exist", SQS_ERRORS, do=_NAMES),
    *(
        _stays(_SQS, code, why, SQS_ERRORS, do=do)
        for code, why, do in (
            ("InvalidAddress", "the address of the queue is invalid", _NAMES),
            ("InvalidAttributeName", "the request is invalid", _REQUEST),
            ("InvalidMessageContents", "the message has characters that are not allowed", _REQUEST),
            ("InvalidSecurity", "the request is not signed, or not over HTTPS", _KEY),
            ("KmsAccessDenied", "a permission on the KMS key is missing", _ALLOW),
            ("KmsDisabled", "the KMS key is disabled", _KMS),
            ("KmsInvalidKeyUsage", "the KMS key is for another use", _KMS),
            ("KmsInvalidState", "the KMS key cannot be used now", _KMS),
            ("KmsNotFound", "the KMS key does not exist", _KMS),
            ("KmsOptInRequired", "the policy of the KMS key is invalid", _KMS),
            ("UnsupportedOperation", "the queue does not support the operation", _ENDPOINT),
        )
    ),
    # errors without a known code
    _passes(_AWS, "408", "the request took too long", AWS_ERRORS),
    _passes(_AWS, "429", "too many requests", BOTOCORE),
    _passes(_AWS, "500", "an internal error", BOTOCORE),
    _passes(_AWS, "502", "bad gateway", BOTOCORE),
    _passes(_AWS, "503", "the service is not available", BOTOCORE),
    _passes(_AWS, "504", "gateway timeout", BOTOCORE),
    _passes(_AWS, "509", "too many bytes", BOTOCORE_LEGACY),
)
"""By the code of an error, then by its HTTP status. Other errors use the task's settings: 400 also means throttling."""

ATHENA_POLICY: tuple[CloudRule, ...] = (
    *_fills(_ATHENA),
    _passes(_ATHENA, "", "S3 limits the rate of requests", ATHENA_SLOW_DOWN, text="Slow Down"),
    _passes(_ATHENA, "", "Glue limits the rate of requests", GLUE_THROTTLING, text="Rate exceeded"),
    _passes(_ATHENA, "", "another query changes the same table", ATHENA_ICEBERG, text="ICEBERG_COMMIT_ERROR"),
    _passes(_ATHENA, "", "a node of Athena failed", ATHENA_TUNING, text="INTERNAL_ERROR_QUERY_ENGINE"),
    _passes(
        _ATHENA, "", "a node of Athena failed", ATHENA_TUNING, text="Encountered too many errors talking to a worker"
    ),
    _passes(_ATHENA, "", "Athena had too few resources", ATHENA_TUNING, text="Query exhausted resources"),
    _passes(_ATHENA, "Retryable", "Athena says that the query may succeed the next time", ATHENA_QUERY),
)
"""By the ``StateChangeReason`` of a failed query, then by its ``AthenaError``. Other failures need a person."""

CHECK_POLICY: tuple[CloudRule, ...] = (
    _stays(
        "Airflow",
        "",
        "a check of the data failed",
        "https://airflow.apache.org/docs/apache-airflow-providers-common-sql/stable/operators.html",
        text="Test failed.",
        do="Look at the rows that the check names: a retry would give the same result.",
    ),
)
"""By the message of the check operators of Airflow."""
