"""The web app of the pages. Airflow mounts it below `PREFIX`; its cookie signs who looks.

Routes of a plugin are public unless they say otherwise: `SEE` lets in who may see plugins. Only what is the same
everywhere, scripts and styles, is open.
"""

import logging
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from google.api_core.exceptions import GoogleAPICallError, NotFound

from windrow.ui.boards import Warehouse, declared, is_empty

log = logging.getLogger(__name__)

PREFIX = "/windrow"
STATIC = Path(__file__).parent / "static"
see = requires_access_view(AccessView.PLUGINS)
SEE = [Depends(see)]
_NO_CACHE = {"Cache-Control": "no-cache"}

app = FastAPI(title="Windrow", docs_url=None, redoc_url=None, openapi_url=None)
warehouse = Warehouse()


@app.get("/boards/{name}/", dependencies=SEE)
def page(name: str) -> FileResponse:
    """Show a board."""
    _declared(name)
    return FileResponse(STATIC / "board.html", headers=_NO_CACHE)


@app.get("/boards/{name}/board", dependencies=SEE)
def board(name: str) -> dict[str, Any]:
    """Tell what a board shows."""
    return _declared(name)


@app.get("/boards/{name}/data", dependencies=SEE)
def data(name: str) -> dict[str, Any]:
    """Tell the rows of a board; ``state`` is ready, empty or failed, and ``reason`` says why."""
    _declared(name)
    try:
        found = warehouse.data(name)
    except NotFound:
        return {"state": "empty", "rows": {}, "reason": "The tables do not exist yet."}
    except AirflowNotFoundException:
        return _failed("There is no Airflow connection google_cloud_default that the API server can see.")
    except GoogleAPICallError as error:
        return _failed(f"BigQuery refuses: {error.message}"[:300])
    except Exception as error:
        log.exception("the rows of the board %s cannot be had", name)
        return _failed(f"BigQuery cannot be asked: {type(error).__name__}. The log of the API server tells more.")
    return {"state": "empty" if is_empty(found["rows"]) else "ready", **found}


def _declared(name: str) -> dict[str, Any]:
    try:
        return declared(name)
    except KeyError:
        raise HTTPException(404, f"There is no board {name!r:.80}.") from None


def _failed(reason: str) -> dict[str, Any]:
    return {"state": "failed", "rows": {}, "reason": reason}


app.mount("/static", StaticFiles(directory=STATIC), name="static")
