"""The Cloud Function in a process of its own, and an issuer of tokens for its callers."""

import datetime
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from local_cloud import ports
from tests import ends
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.queue_task import Call

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-cloud" / "bin" / "python"
AUDIENCE = "https://us-central1-windrow.cloudfunctions.net/fetch-passenger"
ACCOUNT = "tasks@windrow.iam.gserviceaccount.com"
START_S = 60


class Issuer:
    """Signs ID tokens as Google does, and shows the certificates over HTTP."""

    def __init__(self) -> None:
        self.issued: list[str] = []
        self.fetches = 0
        self.works = True
        self.rotate()
        issuer = self

        class Certificates(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetches += 1
                body = json.dumps({issuer.key_id: issuer.certificate}).encode()
                self.send_response(200 if issuer.works else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Certificates)

    def rotate(self) -> None:
        """Sign with a new key from now on, and show only its certificate."""
        key = rsa.generate_private_key(65537, 2048)
        now = datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        signed = (
            builder
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(1))
            .not_valid_after(now + datetime.timedelta(1))
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        self.key_id = uuid.uuid4().hex
        self.certificate = signed.public_bytes(serialization.Encoding.PEM).decode()
        self.signer = crypt.RSASigner.from_string(pem.decode(), self.key_id)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/certs"

    def token(self, **changes: Any) -> str:
        """Make a good token, but for the changes; a claim that is None is left out."""
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        self.issued.append(jwt.encode(self.signer, claims).decode())
        return self.issued[-1]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def outcome(self) -> str:
        return str(json.loads(self.text)["outcome"])


@dataclass(frozen=True)
class Function:
    """A running function."""

    port: int
    log: Path
    issuer: Issuer
    replies: list[str]
    """All that it ever answered."""

    def deliver(self, call: Call, *, retry: int | None = 0) -> Reply:
        """Deliver a task, as the queue does."""
        return self.post(call.payload, token=self.issuer.token(), retry=retry)

    def post(self, body: bytes, *, token: str, retry: int | None = 0) -> Reply:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        if retry is not None:
            headers["X-CloudTasks-TaskRetryCount"] = str(retry)
        return self.request("POST", body, headers)

    def request(self, method: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, "/", body, dict(headers))
            response = connection.getresponse()
            reply = Reply(response.status, response.headers, response.read().decode())
        self.replies.append(f"{reply.headers}{reply.text}")
        return reply

    def lines(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what it logged, from a line on."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()[since:]]


def environment(unpacked: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a function: nothing of ours but the guard of the tests and the mark of the session."""
    guard = str(ROOT / "tests" / "loopback_only")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(unpacked.parent),
        "PYTHONPATH": guard,
        ends.MARK: os.environ[ends.MARK],
        "PYTHONDONTWRITEBYTECODE": "1",
        **settings,
    }


@contextmanager
def serving(
    unpacked: Path, issuer: Issuer, settings: Mapping[str, str], target: str = "fetch_passenger"
) -> Iterator[Function]:
    """Serve a function until the block ends."""
    (port,) = ports.find_free(1)
    log = unpacked.parent / f"{uuid.uuid4().hex}.log"
    command = [str(PYTHON), "-m", "functions_framework", "--target", target]
    command += ["--source", str(unpacked / "main.py"), "--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            cwd=unpacked,
            env=environment(unpacked, **settings),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            function = Function(port, log, issuer, [])
            _wait_until_up(function, process)
            yield function
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop the server with its workers, as Cloud Run does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_up(function: Function, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            assert function.request("GET", b"", {}).status == 405
            return
        except OSError:
            assert process.poll() is None, function.log.read_text()
            assert time.monotonic() < deadline, function.log.read_text()
            time.sleep(0.05)


def ask_for(run: Run, name: str, chunk: int = 3) -> Call:
    """Return the call for a passenger."""
    return Call(run, chunk, Query.of("/get_user_by_name", {"name": name}))
