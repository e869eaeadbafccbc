"""The two ways to say no: a call that is refused, and a query that fails."""


class Refused(Exception):
    """A call is answered with HTTP 400, and this error code of the AWS API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class QueryFailed(Exception):
    """A query ends as FAILED; the text is its StateChangeReason."""


def not_supported(what: str, instead: str = "") -> QueryFailed:
    """Make the error for SQL that Athena may well know, and this emulator does not."""
    hint = f" {instead}" if instead else ""
    return QueryFailed(
        f"NOT_SUPPORTED: the local Athena does not know {what}.{hint} What it knows is in "
        "local_cloud/emulators/athena_server/."
    )
