"""The one error of this server: a call that it answers with a status other than OK."""

import grpc


class Refused(Exception):
    """A call is refused with a gRPC status and a message for whoever made it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> Refused:
    """Return the error for a request that can never succeed."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def missing(message: str) -> Refused:
    """Return the error for something that is not there."""
    return Refused(grpc.StatusCode.NOT_FOUND, message)


def exists(message: str) -> Refused:
    """Return the error for a name that is taken."""
    return Refused(grpc.StatusCode.ALREADY_EXISTS, message)


def unsupported(what: str) -> Refused:
    """Return the error for what Cloud Tasks can do and this server cannot."""
    return Refused(grpc.StatusCode.UNIMPLEMENTED, f"The Cloud Tasks emulator does not support {what}.")
