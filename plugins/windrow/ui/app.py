"""The web app of the boards and of the Harvest pages. Airflow mounts it below `PREFIX`; users have its cookie.

Routes of a plugin are public by default. Those of boards require the permission to see plugins (`SEE`), the Harvest
pages a user, who sees what belongs to DAGs that they may read. Only the static scripts and styles are public.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError

from windrow.ui import boards
from windrow.ui.cache import Answer, RefreshedCache
from windrow.ui.harvest import data as harvest_data
from windrow.ui.harvest import pages

log = logging.getLogger(__name__)

PREFIX = "/windrow"
STATIC = Path(__file__).parent / "static"
FRESH_S = 5.0
LOOK_S = 2.0
"""How long a request waits for a refresh; then it gets the cached rows."""
see = requires_access_view(AccessView.PLUGINS)
SEE = [Depends(see)]
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    # If text of a post ever gets into the page as markup, its scripts must not run. Vega compiles its expressions to
    # functions, hence unsafe-eval, and sets styles on its elements.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'self'",
}
"""Sent with every response. Browsers must revalidate files, so that a page never uses scripts of an old version."""

app = FastAPI(title="Windrow", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=STATIC), name="static")
app.include_router(pages.router)
app.include_router(harvest_data.router)


@app.middleware("http")
async def _add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@app.get("/boards/{name}/", dependencies=SEE)
def page(name: str) -> FileResponse:
    """Return the page of a board."""
    _declared(name)
    return FileResponse(STATIC / "board.html")


@app.get("/boards/{name}/board", dependencies=SEE)
def board(name: str) -> dict[str, Any]:
    """Return the definition of a board."""
    return _declared(name)


@app.get("/boards/{name}/data", dependencies=SEE)
async def data(name: str, response: Response) -> Answer:
    """Return the newest cached rows of a board, without a long wait for newer ones.

    ``state`` is ready, empty or failed; ``reason`` is the cause, ``remedy`` is what to do; ``asked_at`` is the time of
    the query, ``now`` is the time of this server. If a refresh failed, old rows come with a ``reason``.
    """
    _declared(name)
    response.headers["Cache-Control"] = "no-store"
    found = await answers.answer(name) or {
        "state": "failed",
        "rows": {},
        "asked_at": _now(),
        "reason": "The BigQuery query is still running.",
        "remedy": f"Please wait. The timeout of the query is {boards.PATIENCE_S:.0f} s.",
    }
    return {**found, "now": _now()}


def _answer(name: str) -> Answer:
    asked_at = _now()
    try:
        found = boards.rows(name)
    except NotFound as error:
        return {"state": "empty", "rows": {}, "asked_at": asked_at, "reason": _said("BigQuery answered", error)}
    except Exception as error:
        reason, remedy = _why(error)
        log.warning("Loading the rows of the board '%s' failed: %s", name, reason, exc_info=error)
        before = _good.get(name, {"state": "failed", "rows": {}, "asked_at": asked_at})
        return {**before, "reason": reason, "remedy": remedy}
    _good[name] = {"state": "empty" if boards.is_empty(found) else "ready", "rows": found, "asked_at": asked_at}
    return _good[name]


_good: dict[str, Answer] = {}
"""The last rows from BigQuery, for each board."""
answers = RefreshedCache(_answer, seconds=FRESH_S, patience_s=LOOK_S)


def _why(error: Exception) -> tuple[str, str]:
    """Return the cause of an error, and what to do."""
    if isinstance(error, AirflowNotFoundException):
        return (
            "The Airflow connection google_cloud_default does not exist for the API server.",
            "Add it under Admin > Connections, or set AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT for the API server.",
        )
    if isinstance(error, GoogleAuthError):
        return (
            f"Google rejected the credentials of the connection google_cloud_default ({type(error).__name__}).",
            "Check the key or the service account of the API server.",
        )
    if isinstance(error, OSError):  # the base class of all errors of the HTTP client in Google's libraries
        return (
            f"The API server cannot reach BigQuery ({type(error).__name__}).",
            "Check the network of the API server, and status.cloud.google.com. No posts are lost: Pub/Sub keeps them.",
        )
    if isinstance(error, Forbidden):
        return (
            _said("BigQuery denied access", error),
            "Give the account of the API server the roles BigQuery Job User and BigQuery Data Viewer.",
        )
    if isinstance(error, GoogleAPICallError):
        return _said("The BigQuery query failed", error), "See the log of the API server for details."
    return f"The BigQuery query failed: {type(error).__name__}.", "See the log of the API server for details."


def _said(what: str, error: GoogleAPICallError) -> str:
    return f"{what}: {error.message}"[:300]


def _declared(name: str) -> dict[str, Any]:
    try:
        return boards.declared(name)
    except KeyError:
        raise HTTPException(404, f"The board {name!r:.80} does not exist.") from None


def _now() -> str:
    return datetime.now(UTC).isoformat()
