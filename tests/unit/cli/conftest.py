"""The command in a folder of its own, with the help desk of the examples as its API."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.cli.main import main
from windrow.model import registry

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
KEY = "a-key-of-the-example"


def ticket(number: int) -> dict[str, Any]:
    return {
        "id": f"T-{number:05d}", "subject": f"Ticket {number} ü", "status": "open", "deleted": False,
        "requester": {"id": number, "name": "Ann"}, "amount": {"value": f"{number}.25", "currency": "EUR"},
        "created_at": "2026-11-01T00:00:00Z", "updated_at": f"2026-11-02T00:{number:02d}:00Z",
    }  # fmt: skip


def desk(asked: Asked) -> Reply:
    """45 tickets in pages of 20."""
    if asked.headers.get("X-Api-Key") != KEY:
        return Reply({"error": "bad key"}, 401)
    start = int(json.loads(asked.body).get("cursor") or 0)
    found = [ticket(number) for number in range(start + 1, min(start + 20, 45) + 1)]
    limits = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "97", "X-RateLimit-Reset": "30"}
    return Reply({"results": found, "next_cursor": str(start + 20) if start + 20 < 45 else None}, headers=limits)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    before = dict(registry._declared)
    yield tmp_path
    registry._declared.clear()
    registry._declared.update(before)


@pytest.fixture
def environment(scripted: ScriptedApi) -> dict[str, str]:
    scripted.script = desk
    auth = {
        "DESK": {"auth": "header_key", "header": "X-Api-Key", "api_key": KEY},
        "WEATHER": {"auth": "query_key", "param": "apikey", "api_key": KEY},
    }
    return {
        f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "http", "host": scripted.url, "extra": extra})
        for name, extra in auth.items()
    }


@pytest.fixture
def windrow(
    folder: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command; return its exit code, and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        code = main(arguments, environment, out)
        return code, out.getvalue() + capsys.readouterr().err

    return run
