"""What our gRPC emulators have in common: refusals with a status, and an answer for methods that are not there."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

Request = Any
"""A message of the API; which one, the name of the method tells."""


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


def unsupported(service: str, what: str) -> Refused:
    """Return the error for what the service of that name can do and its emulator cannot."""
    return Refused(grpc.StatusCode.UNIMPLEMENTED, f"The {service} emulator does not support {what}.")


class Handlers(grpc.GenericRpcHandler):
    """Finds the method of a call; for any other there is a clear answer too.

    :param service: what messages call the service.
    :param methods: what answers, by the path of the method: `/google.pubsub.v1.Publisher/Publish`.
    """

    def __init__(self, service: str, methods: Mapping[str, grpc.RpcMethodHandler]) -> None:
        self._service = service
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return what answers a call."""
        path = handler_call_details.method

        def refuse(_: bytes) -> Message:
            raise unsupported(self._service, f"the method {path}")

        return self._methods.get(path) or unary(refuse, None)


def unary(
    call: Callable[..., Message | Awaitable[Message]], request: type[Message] | None, *, with_context: bool = False
) -> grpc.RpcMethodHandler:
    """Make the handler of a method that takes one message, and answers with one.

    :param call: takes the request, and the context too when ``with_context``; may be a coroutine function.
    :param request: the message it takes; None for its bytes.
    """

    async def answer(message: Request, context: grpc.aio.ServicerContext) -> Message:
        try:
            result = call(message, context) if with_context else call(message)
            return await result if inspect.isawaitable(result) else result
        except Refused as error:
            await context.abort(error.code, str(error))

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString if request else None, response_serializer=serialize
    )


def serialize(message: Message) -> bytes:
    """Return a message as it is sent."""
    return message.SerializeToString()
