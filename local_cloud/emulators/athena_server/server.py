"""HTTP: the JSON protocols of Athena and Glue on one port, and what is passed on to the emulator behind."""

import http.client
import http.server
import json
import logging
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from local_cloud.emulators.athena_server.errors import Refused
from local_cloud.emulators.athena_server.glue import FORWARDED

log = logging.getLogger(__name__)

Calls = Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]
JSON = "application/x-amz-json-1.1"


class Server(http.server.ThreadingHTTPServer):
    """A thread a connection.

    :param athena: the calls of Athena, by name.
    :param glue: those of Glue that are answered here.
    :param upstream: address of the emulator that answers the others.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], athena: Calls, glue: Calls, upstream: str) -> None:
        self.athena = athena
        self.glue = glue
        self.upstream = urllib.parse.urlsplit(upstream)
        super().__init__(address, Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: what goes wrong is logged where it does."""

    def do_GET(self) -> None:
        """Health."""
        found = self.path == "/health"
        self._answer(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, b'{"status": "ok"}' if found else b"{}")

    def do_POST(self) -> None:
        """One call of an API."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service, _, action = self.headers.get("X-Amz-Target", "").partition(".")
        try:
            if service == "AWSGlue" and action in FORWARDED:
                self._answer(*self._forward(body))
                return
            self._answer(HTTPStatus.OK, json.dumps(self._call(service, action)(json.loads(body or b"{}"))).encode())
        except Refused as refused:
            self._answer(HTTPStatus.BAD_REQUEST, _error(refused.code, str(refused)))
        except Exception as error:
            log.exception("%s.%s failed", service, action)
            text = f"{type(error).__name__}: {error}"
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, _error("InternalServerException", text))

    def _call(self, service: str, action: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        calls = {"AmazonAthena": self.server.athena, "AWSGlue": self.server.glue}.get(service, {})
        if action not in calls:
            known = ", ".join(sorted({*calls, *(FORWARDED if service == "AWSGlue" else ())}))
            raise Refused(
                "InvalidRequestException" if service == "AmazonAthena" else "InvalidInputException",
                f"The local Athena and Glue do not serve {service}.{action}. They serve {known or 'those two only'}.",
            )
        return calls[action]

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        """Let the emulator behind answer."""
        upstream = self.server.upstream
        connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=60)
        dropped = {"host", "content-length", "connection", "accept-encoding", "expect"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        try:
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.end_headers()
        self.wfile.write(body)


def _error(code: str, message: str) -> bytes:
    return json.dumps({"__type": code, "message": message, "Message": message}).encode()
