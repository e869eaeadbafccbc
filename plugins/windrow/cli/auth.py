"""windrow auth: the consent of a person by OAuth 2.0, with the answer on loopback (RFC 8252), PKCE and state."""

import argparse
import asyncio
import base64
import getpass
import hashlib
import hmac
import json
import secrets
import sys
import threading
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from windrow.cli.command import Result, add, whole_number
from windrow.http.client import Client
from windrow.http.oauth import AuthorizationCode
from windrow.model.errors import BadParameter, CredentialsRejected
from windrow.model.policy import Backoff
from windrow.model.redact import blot, know

SECRET = "WINDROW_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_CALLBACK = "/callback"
_DAY_S = 86_400
_DESCRIPTION = f"""\
It opens the page of the API on which you consent, receives the answer on this machine, exchanges it for a refresh
token, and prints the connection. The redirect URI of your client at the API must be the one that is shown; some APIs
accept any port of 127.0.0.1, for others choose one with --port. The client secret, if the client has one, is read from
{SECRET}, or asked for with --secret. The connection has secrets: put it in .env, or in Airflow's secrets."""
_EXAMPLES = """\
  windrow auth calendar --host https://api.example.com --client-id my-client --scope calendar.read \\
      --authorize-url https://login.example.com/authorize --token-url https://login.example.com/token
  Google returns a refresh token only with: --query access_type=offline --query prompt=consent"""


def register(commands: Any) -> None:
    """Add the command."""
    command = add(
        commands, "auth", auth, "give consent in a browser, and print the connection", _DESCRIPTION, _EXAMPLES
    )
    command.add_argument("conn_id", help="id of the connection, like calendar")
    command.add_argument("--host", required=True, help="address of the API, for the connection")
    command.add_argument("--authorize-url", required=True, metavar="URL", help="page on which a person consents")
    command.add_argument("--token-url", required=True, metavar="URL", help="token endpoint")
    command.add_argument("--client-id", required=True, metavar="ID", help="id of your client at the API")
    command.add_argument("--secret", action="store_true", help="ask for the client secret")
    command.add_argument("--basic", action="store_true", help="send client id and secret by HTTP Basic")
    command.add_argument("--scope", default="", help="scopes, separated by blanks")
    command.add_argument(
        "--query", action="append", default=[], metavar="NAME=VALUE", help="another parameter of the consent page"
    )
    command.add_argument(
        "--port", type=whole_number(0, 65_535), default=0, help="port of the redirect URI (a free one)"
    )
    command.add_argument("--timeout", type=_seconds, default=300.0, metavar="SECONDS", help="wait so long (300)")
    command.add_argument("--no-browser", action="store_true", help="only show the address of the page")


def _seconds(text: str) -> float:
    try:
        if 0 < float(text) <= _DAY_S:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r:.60} must be a number of seconds, up to {_DAY_S:,}")


def auth(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    """Guide a person through the consent.

    :raises BadParameter: an argument is invalid.
    :raises CredentialsRejected: the person or the endpoint refused, or no answer came in time.
    """
    for name in ("host", "authorize_url", "token_url"):
        parts = urlsplit(getattr(options, name))
        is_local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_local)):
            raise BadParameter(
                f"--{name.replace('_', '-')} is not an address like https://api.example.com.",
                advice="Consents need https, except on this machine.",
            )
    extra = dict(pair.partition("=")[::2] for pair in options.query)
    secret = getpass.getpass("Client secret: ") if options.secret else environment.get(SECRET, "")
    know(secret)
    verifier, callback = secrets.token_urlsafe(48), _Callback(secrets.token_urlsafe(24))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    with callback.server(options.port) as server:
        redirect = f"http://127.0.0.1:{server.server_port}{_CALLBACK}"
        asked = {
            "response_type": "code",
            "client_id": options.client_id,
            "redirect_uri": redirect,
            "state": callback.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        asked |= ({"scope": options.scope} if options.scope else {}) | extra
        mark = "&" if urlsplit(options.authorize_url).query else "?"
        page = f"{options.authorize_url}{mark}{urlencode(asked)}"
        sys.stderr.write(f"Redirect URI: {redirect}\nOpen this page, and consent:\n  {page}\n")
        code = callback.wait(server, options.timeout, "" if options.no_browser else page)
    grant = AuthorizationCode(
        options.token_url,
        options.client_id,
        secret,
        with_basic=options.basic,
        fields={"code": code, "redirect_uri": redirect, "code_verifier": verifier},
        name=options.conn_id,
        backoff=Backoff(attempts=1),  # a code is valid once
    )
    asyncio.run(_redeem(options, grant))
    if not grant.refresh_token:
        raise CredentialsRejected(
            "The token endpoint returned no refresh token.",
            advice="Request one: many APIs need a scope like offline_access; Google needs --query access_type=offline "
            "--query prompt=consent.",
        )
    fields: dict[str, Any] = {"conn_type": "http", "host": options.host, "login": options.client_id}
    fields |= {"password": secret} if secret else {}
    fields["extra"] = {"auth": "refresh_token", "token_path": options.token_url, "refresh_token": grant.refresh_token}
    fields["extra"] |= {"scope": options.scope} if options.scope else {}
    fields["extra"] |= {"token_auth": "basic"} if options.basic else {}
    text = json.dumps(fields).replace("'", "\\u0027")
    return Result(
        f"AIRFLOW_CONN_{options.conn_id.upper()}='{text}'", {"conn_id": options.conn_id, "connection": fields}
    )


async def _redeem(options: argparse.Namespace, grant: AuthorizationCode) -> None:
    parts = urlsplit(options.token_url)
    async with Client(f"{parts.scheme}://{parts.netloc}", grant, name=options.conn_id) as client:
        await client.authorize()


@dataclass(slots=True)
class _Callback:
    """Waits for the browser to come back with a code and the state of this consent."""

    state: str = field(repr=False)
    code: str = field(default="", repr=False)
    error: str = ""

    def server(self, port: int) -> HTTPServer:
        """Listen on loopback.

        :raises OSError: the port is in use.
        """
        callback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # of a client that sends nothing

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                given = {name: values[0] for name, values in parse_qs(parts.query).items()}
                known = parts.path == _CALLBACK and hmac.compare_digest(
                    given.get("state", "").encode(), callback.state.encode()
                )
                if known:
                    callback.code = given.get("code", "")
                    callback.error = "" if callback.code else given.get("error", "no code")
                text = "Thank you. You can close this window." if known else "This is not the answer to the consent."
                self.send_response(200 if known else 400)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Log nothing: the address has the code."""

        return HTTPServer(("127.0.0.1", port), Handler)

    def wait(self, server: HTTPServer, timeout_s: float, page: str) -> str:
        """Return the code.

        :raises CredentialsRejected: the person refused, or no answer came in time.
        """
        ended = threading.Event()
        timer = threading.Timer(timeout_s, ended.set)
        timer.daemon = True
        timer.start()
        opener = threading.Thread(target=webbrowser.open, args=(page,), daemon=True)
        if page:
            opener.start()
        server.timeout = 0.2
        try:
            while not (self.code or self.error or ended.is_set()):
                server.handle_request()
        finally:
            timer.cancel()
        if self.code:
            return self.code
        what = f"The consent was refused: {blot(self.error)[:80]!r}." if self.error else "No answer came in time."
        raise CredentialsRejected(what, advice="Run the command again, and consent on the page.")
