"""fetch_passenger: the Cloud Function that makes one API call a task of the queue, and stages the answer in MongoDB.

Cloud Tasks is done with a task when it is answered with 200 to 299, and delivers it again after any other answer,
4xx included. So the status does not say whether all went well, but whether to come again:

========================================================  ======  ==========================================
what happened                                             status  what it leaves
========================================================  ======  ==========================================
the API answered; it knows no such thing (404, 410)       200     the answer, or the gap, is staged
the query was settled before: a delivery came twice       200     no call is made
the API refuses the query (400, 403, ...)                 200     a record in the quarantine
the answer cannot be read: first and second delivery      503     nothing yet: it may have been an accident
the answer cannot be read: third delivery                 200     the answer and the reason in the quarantine
the task is broken, so no delivery can ever do it         200     an error in the log, and a record in the
                                                                  quarantine if it names a run and a key
the API wants a pause (429, or 503 with Retry-After)      429     nothing; Retry-After is passed on
the API gives no answer, or a 5xx; MongoDB is away        503     nothing
the API rejects credentials, or a token just made         500     an error in the log
no token, or none that is good for this function          401     a warning in the log; nothing is done
a good token of somebody who is not the queue             403     a warning in the log; nothing is done
no certificates to check a token with                     503     an error in the log; nothing is done
not a POST                                                405     nothing
========================================================  ======  ==========================================

Deliveries are at least once, and may come at the same time in two processes: all that is written is a whole
document under the query's key, so the second one changes nothing.
"""

import asyncio
import logging
import os
import time

import functions_framework.aio
import jsonlog
from caller import CallerRefused, Callers, CertificatesUnavailable
from delivery import RETRY_COUNT, BrokenTask, Delivery
from environment import Environment
from settling import Reply, Settler, Staging
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from windrow.model.plan import Run

log = logging.getLogger("fetch_passenger")

Asked = tuple[Run, str] | None
"""The run and the key that a request is about; None where it does not say, or may not."""


class Function:
    """What is shared by all requests of one process."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._callers = Callers(environment.oidc_audience, environment.oidc_service_account, environment.oidc_certs_url)
        self._opening: asyncio.Task[Settler] | None = None

    async def reply(self, request: Request) -> tuple[Reply, Asked]:
        """Do what a request asks for, if it may."""
        if request.method != "POST":
            return Reply(405, "not a POST", request.method), None
        try:
            await self._callers.check(request.headers.get("Authorization"))
        except CallerRefused as refused:
            return Reply(refused.status, "caller refused", f"{refused}", logging.WARNING), None
        except CertificatesUnavailable as error:
            return Reply(503, "caller unknown", f"{error}", logging.ERROR), None
        settler = await self._settler()
        try:
            delivery = Delivery.read(request.headers, await request.body())
        except BrokenTask as broken:
            if broken.record:
                run, _, rejected = broken.record
                return await settler.record(*broken.record), (run, rejected.query.key)
            return Reply(200, "broken task", broken.reason, logging.ERROR), None
        return await settler.settle(delivery), (delivery.call.run, delivery.call.query.key)

    async def _settler(self) -> Settler:
        """Return what the first request makes: here, as its parts belong to the event loop and to this process."""
        self._opening = self._opening or asyncio.create_task(self._start())
        return await asyncio.shield(self._opening)

    async def _start(self) -> Settler:
        # Nothing closes these: a function is not told that its process ends. The server lets requests end first.
        client = await self._environment.client().__aenter__()
        return Settler(client, Staging(self._environment.mongo(), self._environment.mongo_database))


jsonlog.configure()
_function = Function(Environment.read(os.environ))


@functions_framework.aio.http
async def fetch_passenger(request: Request) -> Response:
    """Answer one request, and log one line about it."""
    began = time.monotonic()
    reply, asked = await _function.reply(request)
    fields: dict[str, object] = {"outcome": reply.outcome, "status": reply.status}
    if reply.reason:
        fields["reason"] = reply.reason
    if asked is not None:
        run, key = asked
        fields |= {"dataset": run.dataset, "run_id": run.run_id, "key": key}
        fields["retry"] = request.headers.get(RETRY_COUNT)
    fields["ms"] = round((time.monotonic() - began) * 1000, 1)
    log.log(reply.level, "%s: %s", reply.outcome, fields.get("key", reply.reason), extra={"fields": fields})
    headers = {"Allow": "POST"} if reply.status == 405 else {}
    if reply.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if reply.retry_after_s:
        headers["Retry-After"] = str(reply.retry_after_s)
    body = {"outcome": reply.outcome}
    if reply.reason and reply.status not in {401, 403}:  # the caller may be anybody
        body["reason"] = reply.reason
    return JSONResponse(body, reply.status, headers)
