"""posts_to_bigquery: the Cloud Function that a push subscription of Pub/Sub calls, once for each message.

Pub/Sub acknowledges a message after a status from 200 to 204, and delivers it again after any other status; a
subscription with a dead letter topic moves it there after some tries. So the status says whether to deliver it again:

==================================================  ======  ===================================================
what happened                                       status  result
==================================================  ======  ===================================================
the row is in the table                             204     the row; twice if the delivery was repeated late
unreadable message, or BigQuery rejected the row    422     an error in the log; the dead letter topic gets it
no answer of BigQuery, or an error                  503     a warning in the log; Pub/Sub delivers it again
the body is not a Pub/Sub push message              400     a warning in the log
no valid token for this function                    401     a warning in the log; nothing is done
a valid token of another caller                     403     a warning in the log; nothing is done
no certificates to check the token                  503     an error in the log; nothing is done
not a POST                                          405     nothing
==================================================  ======  ===================================================

The table is a landing table: it may have a post twice. merge.sql of x.posts makes one row for each post.
"""

import base64
import binascii
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import functions_framework.aio
import orjson
from caller import CallerRefused, Callers, CertificatesUnavailable
from environment import Environment
from starlette.requests import Request
from starlette.responses import Response
from writer import NotWritten, Writer

from windrow.model import logs
from windrow.model.errors import Unreadable
from windrow.model.message import from_message
from windrow.model.plan import Run
from windrow.sources.x.streams import Posts

log = logging.getLogger("posts_to_bigquery")
SOURCE = "push"
POSTS = Posts()


@dataclass(frozen=True, slots=True)
class Reply:
    """The response to a push, and its log line."""

    status: int
    outcome: str
    reason: str = ""
    level: int = logging.INFO
    message_id: str = ""


class Function:
    """State that all requests of one process share."""

    def __init__(self, environment: Environment) -> None:
        self._writer = Writer(environment)
        self._callers: Callers | None = None
        if environment.oidc_audience:
            self._callers = Callers(
                environment.oidc_audience, environment.oidc_service_account, environment.oidc_certs_url
            )

    async def reply(self, request: Request) -> Reply:
        """Handle a request, if it is allowed."""
        if request.method != "POST":
            return Reply(405, "not a POST", request.method)
        try:
            if self._callers is not None:
                await self._callers.check(request.headers.get("Authorization"))
        except CallerRefused as refused:
            return Reply(refused.status, "caller refused", f"{refused}", logging.WARNING)
        except CertificatesUnavailable as error:
            return Reply(503, "caller unknown", f"{error}", logging.ERROR)
        try:
            message_id, data = _pushed(await request.body())
        except ValueError as error:
            return Reply(400, "not a push message", f"{error}", logging.WARNING)
        logs.begin(Run(Posts.dataset, SOURCE), key=f"messages?id={message_id}")
        return await self._write(message_id, data)

    async def _write(self, message_id: str, data: bytes) -> Reply:
        try:
            record = from_message(data, POSTS.contract)
            POSTS.vet(record)
            row = orjson.loads(orjson.dumps(record | {"_run_id": SOURCE}))
            await self._writer.write(f"{record['post_id']}/{record['deleted_at'] is not None}", row)
        except Unreadable as error:
            return Reply(422, "unreadable", error.reason, logging.ERROR, message_id)
        except NotWritten as error:
            if error.final:
                return Reply(422, "refused", f"{error}", logging.ERROR, message_id)
            return Reply(503, "not written", f"{error}", logging.WARNING, message_id)
        return Reply(204, "written", message_id=message_id)


def _pushed(body: bytes) -> tuple[str, bytes]:
    """Return the id and the content of a pushed message.

    :raises ValueError: this is not a push message.
    """
    try:
        pushed: Any = orjson.loads(body)
        message: Mapping[str, Any] = pushed["message"]
        return str(message["messageId"]), base64.b64decode(message.get("data", ""), validate=True)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"the body is not a Pub/Sub push message: {type(error).__name__}") from error


logs.configure(as_json=True)
_function = Function(Environment.read(os.environ))


@functions_framework.aio.http
async def posts_to_bigquery(request: Request) -> Response:
    """Answer one request, and log one line about it."""
    began = time.monotonic()
    reply = await _function.reply(request)
    fields: dict[str, object] = {"outcome": reply.outcome, "status": reply.status, "message_id": reply.message_id}
    if reply.reason:
        fields["reason"] = reply.reason
    fields["ms"] = round((time.monotonic() - began) * 1000, 1)
    log.log(reply.level, "%s: %s", reply.outcome, reply.message_id or reply.reason, extra={"fields": fields})
    headers = {405: {"Allow": "POST"}, 401: {"WWW-Authenticate": "Bearer"}}.get(reply.status, {})
    return Response(status_code=reply.status, headers=headers)
