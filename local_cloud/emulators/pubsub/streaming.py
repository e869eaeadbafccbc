"""Streaming pull: one stream that gets messages as they come, and says what became of them."""

import asyncio
from collections.abc import AsyncIterator

import grpc
from google.pubsub_v1.types import pubsub

from local_cloud.emulators.pubsub.acceptance import check_deadline
from local_cloud.emulators.pubsub.backlog import Backlog, Holder
from local_cloud.emulators.pubsub.registry import Registry
from local_cloud.emulators.rpc import Refused, Request, invalid, serialize

KEEP_ALIVE_SECONDS = 4.0
"""An empty response is sent when there was nothing else for so long."""
MOST_HELD = 1_000
"""Messages that a stream holds at once when it does not say."""
MOST_AT_ONCE = 1_000

StreamingPullRequest = pubsub.StreamingPullRequest.pb()
StreamingPullResponse = pubsub.StreamingPullResponse.pb()


class Stream:
    """One open stream."""

    def __init__(self, backlog: Backlog, first: Request) -> None:
        self._backlog = backlog
        self._holder = Holder()
        self._most = first.max_outstanding_messages or MOST_HELD
        self._deadline_s = check_deadline(first.stream_ack_deadline_seconds)

    def hear(self, request: Request) -> None:
        """Do what a request of the client says."""
        if request.stream_ack_deadline_seconds:
            self._deadline_s = check_deadline(request.stream_ack_deadline_seconds)
        self._backlog.acknowledge(request.ack_ids)
        for ack_id, deadline in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True):
            self._backlog.modify(ack_id, deadline)

    async def next(self) -> StreamingPullResponse:
        """Wait for messages, and return them; an empty response to keep the stream alive."""
        until = asyncio.get_running_loop().time() + KEEP_ALIVE_SECONDS
        while (left := until - asyncio.get_running_loop().time()) > 0:
            room = min(self._most - self._holder.held, MOST_AT_ONCE)
            taken = self._backlog.take(room, self._holder, self._deadline_s) if room > 0 else []
            if taken:
                return StreamingPullResponse(received_messages=taken)
            await self._backlog.news(left)
        return StreamingPullResponse()


def streaming_pull(registry: Registry) -> grpc.RpcMethodHandler:
    """Make the handler of StreamingPull."""

    async def serve(
        requests: AsyncIterator[Request], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[StreamingPullResponse]:
        hearing: asyncio.Task[None] | None = None
        try:
            first = await anext(requests)
            if not first.subscription:
                raise invalid("The first request of a stream must name its subscription.")
            stream = Stream(registry.subscription(first.subscription).backlog, first)

            async def hear() -> None:
                async for request in requests:
                    stream.hear(request)

            hearing = asyncio.create_task(hear())
            yield StreamingPullResponse()
            while not hearing.done():
                response = await stream.next()
                registry.subscription(first.subscription)  # it may have been deleted meanwhile
                yield response
            hearing.result()
        except Refused as error:
            await context.abort(error.code, str(error))
        finally:
            if hearing is not None:
                hearing.cancel()

    return grpc.stream_stream_rpc_method_handler(
        serve, request_deserializer=StreamingPullRequest.FromString, response_serializer=serialize
    )
