"""Steps of `up` after the services are healthy: create the bucket, warm up Airflow, and wait for parsed DAGs."""

import datetime
import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_cloud import airflow_env
from local_cloud.errors import ServiceFailed
from local_cloud.settings import BUCKET, LOOPBACK, PROJECT_ID, Settings

DAGS_SECONDS = 180
"""Maximum time for the first parsing of all DAG files."""
REQUEST_SECONDS = 90


def ensure_bucket(settings: Settings) -> None:
    """Create the landing bucket. Raises ServiceFailed if the emulator fails."""
    path = f"/storage/v1/b?project={PROJECT_ID}"
    status, _ = _call(settings.gcs_port, "POST", path, {"name": BUCKET, "location": "US"})
    if status not in {http.HTTPStatus.OK, http.HTTPStatus.CONFLICT}:  # conflict: it is there
        raise ServiceFailed(f"Creating the bucket {BUCKET} failed: the service gcs answered {status}.")


def warm_execution_api(settings: Settings) -> None:
    """Call the health check of Airflow's execution API: its first request takes seconds."""
    status, _ = _call(settings.airflow_port, "GET", "/execution/health")
    if status != http.HTTPStatus.OK:
        raise ServiceFailed(f"The health check /execution/health failed: airflow-api-server answered {status}.")


def wait_for_dags(settings: Settings, since: datetime.datetime) -> list[str]:
    """Wait until every file in dags/ has been parsed after ``since``; return the import errors.

    Raises ServiceFailed if that takes too long.
    """
    expected = _dag_files(settings.root / "dags")
    if not expected:
        return []
    token = _token(settings)
    deadline = time.monotonic() + DAGS_SECONDS
    while True:
        errors = {
            error["filename"]: error["stack_trace"]
            for error in _listing(settings, token, "/api/v2/importErrors", "import_errors")
            if datetime.datetime.fromisoformat(error["timestamp"]) >= since
        }
        parsed = {
            dag["relative_fileloc"]
            for dag in _listing(settings, token, "/api/v2/dags", "dags")
            if datetime.datetime.fromisoformat(dag["last_parsed_time"]) >= since
        }
        missing = expected - parsed - set(errors)
        if not missing:
            return [f"dags/{name} cannot be imported:\n{trace}" for name, trace in errors.items()]
        if time.monotonic() > deadline:
            raise ServiceFailed(
                f"Airflow has not parsed these files of dags/ within {DAGS_SECONDS} s: "
                f"{', '.join(sorted(missing))}. See {settings.log / 'airflow-dag-processor.log'}."
            )
        time.sleep(0.5)


def _dag_files(dags: Path) -> set[str]:
    """Return the files that Airflow parses as DAG files: files with these two words."""
    return {
        str(path.relative_to(dags))
        for path in dags.rglob("*.py")
        if b"dag" in (text := path.read_bytes().lower()) and b"airflow" in text
    }


def _token(settings: Settings) -> str:
    login = {"username": airflow_env.USER, "password": settings.admin_password}
    status, body = _call(settings.airflow_port, "POST", "/auth/token", login)
    if status != http.HTTPStatus.CREATED:
        raise ServiceFailed(f"Login to Airflow as {airflow_env.USER} failed: airflow-api-server answered {status}.")
    token: str = json.loads(body)["access_token"]
    return token


def _listing(settings: Settings, token: str, path: str, key: str) -> list[dict[str, Any]]:
    status, body = _call(settings.airflow_port, "GET", f"{path}?limit=100", token=token)
    if status != http.HTTPStatus.OK:
        raise ServiceFailed(f"GET {path} failed: airflow-api-server answered {status}.")
    items: list[dict[str, Any]] = json.loads(body)[key]
    return items


def _call(
    port: int, method: str, path: str, body: Mapping[str, str] | None = None, token: str | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=REQUEST_SECONDS)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body=json.dumps(dict(body)) if body else None, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServiceFailed(f"{method} http://{LOOPBACK}:{port}{path} failed: {error}") from error
    finally:
        connection.close()
