"""The web app of the pages. Airflow mounts it below `PREFIX`; its cookie signs who looks.

Routes of a plugin are public unless they say otherwise: `SEE` lets in who may see plugins. Only what is the same
everywhere, scripts and styles, is open.
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
from windrow.ui.cache import Answer, Kept

log = logging.getLogger(__name__)

PREFIX = "/windrow"
STATIC = Path(__file__).parent / "static"
FRESH_S = 5.0
LOOK_S = 2.0
"""So long a request waits for a refresh; then it is answered with what is there."""
see = requires_access_view(AccessView.PLUGINS)
SEE = [Depends(see)]
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    # Should words of a post ever get into the page as markup, no script of theirs runs. Vega makes functions out of
    # its expressions, hence unsafe-eval, and puts styles on its elements.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'self'",
}
"""Sent with every answer. Browsers ask for files anew: a page must not meet the scripts of the version before."""

app = FastAPI(title="Windrow", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.middleware("http")
async def _add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@app.get("/boards/{name}/", dependencies=SEE)
def page(name: str) -> FileResponse:
    """Show a board."""
    _declared(name)
    return FileResponse(STATIC / "board.html")


@app.get("/boards/{name}/board", dependencies=SEE)
def board(name: str) -> dict[str, Any]:
    """Tell what a board shows."""
    return _declared(name)


@app.get("/boards/{name}/data", dependencies=SEE)
async def data(name: str, response: Response) -> Answer:
    """Tell the rows of a board: the newest that are there, without waiting long for newer ones.

    ``state`` is ready, empty or failed; ``reason`` says why, ``remedy`` what to do; ``asked_at`` is when BigQuery was
    asked, ``now`` is the time of this server. Rows that could not be refreshed come with a ``reason``, too.
    """
    _declared(name)
    response.headers["Cache-Control"] = "no-store"
    found = await answers.answer(name) or {
        "state": "failed",
        "rows": {},
        "asked_at": _now(),
        "reason": "BigQuery has not answered yet.",
        "remedy": f"It is given {boards.PATIENCE_S:.0f} s for a query.",
    }
    return {**found, "now": _now()}


def _answer(name: str) -> Answer:
    asked_at = _now()
    try:
        found = boards.rows(name)
    except NotFound as error:
        return {"state": "empty", "rows": {}, "asked_at": asked_at, "reason": _said("BigQuery says", error)}
    except Exception as error:
        reason, remedy = _why(error)
        log.warning("the rows of the board %s cannot be had: %s", name, reason, exc_info=error)
        before = _good.get(name, {"state": "failed", "rows": {}, "asked_at": asked_at})
        return {**before, "reason": reason, "remedy": remedy}
    _good[name] = {"state": "empty" if boards.is_empty(found) else "ready", "rows": found, "asked_at": asked_at}
    return _good[name]


_good: dict[str, Answer] = {}
"""The last rows of each board that BigQuery gave."""
answers = Kept(_answer, seconds=FRESH_S, patience_s=LOOK_S)


def _why(error: Exception) -> tuple[str, str]:
    """Say what has happened, and what the one who looks can do."""
    if isinstance(error, AirflowNotFoundException):
        return (
            "The API server sees no Airflow connection google_cloud_default.",
            "Make it under Admin > Connections, or give the API server AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT.",
        )
    if isinstance(error, GoogleAuthError):
        return (
            f"Google does not take the credentials of the connection google_cloud_default ({type(error).__name__}).",
            "Look at the key or the service account of the API server.",
        )
    if isinstance(error, OSError):  # all that the HTTP client of Google's libraries raises is one
        return (
            f"BigQuery does not answer the API server ({type(error).__name__}).",
            "Look at its network, and at status.cloud.google.com. Posts are not lost: they wait in Pub/Sub.",
        )
    if isinstance(error, Forbidden):
        return (
            _said("BigQuery refuses", error),
            "The account of the API server needs the roles BigQuery Job User and BigQuery Data Viewer.",
        )
    if isinstance(error, GoogleAPICallError):
        return _said("BigQuery refuses", error), "The log of the API server tells more."
    return f"BigQuery cannot be asked: {type(error).__name__}.", "The log of the API server tells more."


def _said(what: str, error: GoogleAPICallError) -> str:
    return f"{what}: {error.message}"[:300]


def _declared(name: str) -> dict[str, Any]:
    try:
        return boards.declared(name)
    except KeyError:
        raise HTTPException(404, f"There is no board {name!r:.80}.") from None


def _now() -> str:
    return datetime.now(UTC).isoformat()
