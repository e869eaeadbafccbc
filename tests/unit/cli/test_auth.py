"""`windrow auth`: the consent of a person, who is played by a function that follows the page's redirect."""

import base64
import hashlib
import json
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.connect.environment import EnvironmentApi

SECRET = "the-client-secret"


def visit(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of this test
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def consent(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch, windrow: Any) -> Callable[..., tuple[int, str]]:
    """Run the command; ``come_back`` returns what the page sends the browser back with."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(come_back: Any, token: Reply | None = None, *more: str) -> tuple[int, str]:
        seen: dict[str, str] = {}

        def script(asked: Asked) -> Reply:
            if asked.path == "/authorize":
                seen.update(dict(asked.params))
                back = f"{seen['redirect_uri']}?{urlencode(come_back(seen))}"
                return Reply("", 302, {"Location": back})
            form = {name: values[0] for name, values in parse_qs(asked.body).items()}
            verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(verifier).decode().rstrip("=") == seen["code_challenge"]
            assert (form["code"], form["redirect_uri"], seen["scope"]) == ("the-c0de", seen["redirect_uri"], "read")
            return token or Reply({"access_token": "acc3ss-token", "refresh_token": "r3fresh-'token", "expires_in": 60})

        scripted.script = script
        monkeypatch.setattr(webbrowser, "open", visit)
        return windrow(  # type: ignore[no-any-return]
            "auth", "calendar", "--host", scripted.url, "--client-id", "me", "--scope", "read",
            "--authorize-url", f"{scripted.url}/authorize", "--token-url", f"{scripted.url}/token", *more,
        )  # fmt: skip

    return run


def with_code(seen: dict[str, str]) -> dict[str, str]:
    return {"code": "the-c0de", "state": seen["state"]}


def test_a_consent_becomes_a_connection_that_works(consent: Any, environment: dict[str, str], scripted: ScriptedApi):
    environment["WINDROW_CLIENT_SECRET"] = SECRET
    code, shown = consent(with_code)
    assert code == 0, shown
    (line,) = (each for each in shown.splitlines() if each.startswith("AIRFLOW_CONN_CALENDAR="))
    value = line.partition("=")[2].strip("'")
    fields = EnvironmentApi("calendar", {"AIRFLOW_CONN_CALENDAR": value}).connection()
    assert (fields.host, fields.login, fields.password) == (scripted.url, "me", SECRET)
    assert json.loads(fields.extra or "")["refresh_token"] == "r3fresh-'token"
    assert "acc3ss-token" not in shown


@pytest.mark.parametrize(
    ("come_back", "token", "line"),
    [
        (lambda seen: {"error": "access_denied", "state": seen["state"]}, None, "was refused: 'access_denied'"),
        (with_code, Reply({"access_token": "acc3ss-token"}), "returned no refresh token"),
        (with_code, Reply({"error": "invalid_grant"}, 400), "rejected the authorization code"),
        (with_code, Reply("<html>", 200), "returned no token"),
    ],
)
def test_what_goes_wrong_is_one_line(consent: Any, come_back: Any, token: Reply | None, line: str):
    code, shown = consent(come_back, token)
    assert code in {1, 2}
    (error,) = (each for each in shown.splitlines() if each.startswith("Error: "))
    assert line in error
    assert "the-c0de" not in shown
    assert "AIRFLOW_CONN" not in shown


def test_a_token_endpoint_that_does_not_answer(consent: Any, folder: Path):
    code, shown = consent(with_code, None, "--token-url", "http://127.0.0.1:9/token")
    (error,) = (each for each in shown.splitlines() if each.startswith("Error: "))
    assert (code, "127.0.0.1:9" in error, list(folder.iterdir())) == (1, True, []), shown
    assert "the-c0de" not in shown


def test_an_answer_with_another_state_is_refused(consent: Any):
    def forged(seen: dict[str, str]) -> dict[str, str]:
        page = f"{seen['redirect_uri']}?{urlencode({'code': 'f0rged', 'state': 'other'})}"
        assert visit_later(page) is None
        return with_code(seen)

    visited: list[int] = []

    def visit_later(page: str) -> None:
        import threading

        thread = threading.Thread(target=lambda: visited.append(visit(page)))
        thread.start()
        thread.join(10)

    code, shown = consent(forged)
    assert (code, visited) == (0, [400]), shown


def test_nobody_answers(windrow: Any, scripted: ScriptedApi):
    url = f"{scripted.url}/authorize"
    code, shown = windrow(
        "auth", "calendar", "--host", scripted.url, "--client-id", "me", "--authorize-url", url, "--token-url", url,
        "--no-browser", "--timeout", "0.01",
    )  # fmt: skip
    assert (code, "No answer came in time." in shown) == (2, True)
    assert parse_qs(urlsplit(shown.split()[-1]).query) is not None
    code, shown = windrow(
        "auth", "calendar", "--host", "http://api.example.com", "--client-id", "me", "--authorize-url", url,
        "--token-url", url,
    )  # fmt: skip
    assert (code, "--host is not an address like https" in shown) == (2, True)
