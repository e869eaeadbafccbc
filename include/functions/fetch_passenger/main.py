"""fetch_passenger: the Cloud Function that makes one API call for each task of the queue, and stages its answer.

Cloud Tasks completes a task after a status from 200 to 299, and delivers it again after any other status, including
4xx. So the status only says whether to deliver the task again:

========================================================  ======  ==========================================
what happened                                             status  result
========================================================  ======  ==========================================
the API answered; or it answered 404 or 410               200     the answer, or the gap, is staged
the query is already settled: a repeated delivery         200     no call is made
the API rejected the query (400, 403, ...)                200     a record in the quarantine
unreadable answer: first and second delivery              503     nothing yet: the next answer may be readable
unreadable answer: third delivery                         200     the answer and the reason in the quarantine
the task is invalid                                       200     an error in the log, and a record in the
                                                                  quarantine if it has a run and a key
the API asks for a pause (429, or 503 with Retry-After)   429     nothing; Retry-After is passed on
no answer of the API, or a 5xx; MongoDB is unavailable    503     nothing
the API rejected the credentials, or a new token          500     an error in the log
no valid token for this function                          401     a warning in the log; nothing is done
a valid token of another caller                           403     a warning in the log; nothing is done
no certificates to check the token                        503     an error in the log; nothing is done
not a POST                                                405     nothing
========================================================  ======  ==========================================

Tasks are delivered at least once, and may be delivered to two processes at the same time. Each write is one complete
document with the key of the query, so a second delivery changes nothing.
"""

import asyncio
import logging
import os
import time

import functions_framework.aio
from caller import CallerRefused, Callers, CertificatesUnavailable
from delivery import RETRY_COUNT, BrokenTask, Delivery
from environment import Environment
from settling import Reply, Settler, Staging
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from windrow.model import logs

log = logging.getLogger("fetch_passenger")


class Function:
    """State that all requests of one process share."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._callers = Callers(environment.oidc_audience, environment.oidc_service_account, environment.oidc_certs_url)
        self._opening: asyncio.Task[Settler] | None = None

    async def reply(self, request: Request) -> Reply:
        """Handle a request, if it is allowed. Its log lines then have the run and the key."""
        if request.method != "POST":
            return Reply(405, "not a POST", request.method)
        try:
            await self._callers.check(request.headers.get("Authorization"))
        except CallerRefused as refused:
            return Reply(refused.status, "caller refused", f"{refused}", logging.WARNING)
        except CertificatesUnavailable as error:
            return Reply(503, "caller unknown", f"{error}", logging.ERROR)
        settler = await self._settler()
        try:
            delivery = Delivery.read(request.headers, await request.body())
        except BrokenTask as broken:
            if broken.record:
                run, _, rejected = broken.record
                logs.begin(run, key=rejected.query.key)
                return await settler.record(*broken.record)
            return Reply(200, "broken task", broken.reason, logging.ERROR)
        logs.begin(delivery.call.run, key=delivery.call.query.key)
        return await settler.settle(delivery)

    async def _settler(self) -> Settler:
        """Return the settler. The first request creates it, because its parts belong to the event loop."""
        self._opening = self._opening or asyncio.create_task(self._start())
        return await asyncio.shield(self._opening)

    async def _start(self) -> Settler:
        # These are never closed: a function gets no signal before its process ends. The server finishes requests first.
        client = await self._environment.client().__aenter__()
        staging = Staging(self._environment.mongo(), self._environment.mongo_database, "the variable MONGO_URL")
        return Settler(client, staging)


logs.configure(as_json=True)
_function = Function(Environment.read(os.environ))


@functions_framework.aio.http
async def fetch_passenger(request: Request) -> Response:
    """Answer one request, and log one line about it."""
    began = time.monotonic()
    reply = await _function.reply(request)
    fields: dict[str, object] = {"outcome": reply.outcome, "status": reply.status}
    if reply.reason:
        fields["reason"] = reply.reason
    if key := logs.fields().get("key"):
        fields["retry"] = request.headers.get(RETRY_COUNT)
    fields["ms"] = round((time.monotonic() - began) * 1000, 1)
    log.log(reply.level, "%s: %s", reply.outcome, key or reply.reason, extra={"fields": fields})
    headers = {"Allow": "POST"} if reply.status == 405 else {}
    if reply.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if reply.retry_after_s:
        headers["Retry-After"] = str(reply.retry_after_s)
    body = {"outcome": reply.outcome}
    if reply.reason and reply.status not in {401, 403}:  # the caller is unknown
        body["reason"] = reply.reason
    return JSONResponse(body, reply.status, headers)
