"""The routes of gcp-storage-emulator 2026.7.19, with what its handlers leave out.

* `ifGenerationMatch` is checked (412 when it does not hold), and one request runs at a time;
* `maxResults` and `pageToken` of a listing work;
* names that end in `/` are objects too;
* names that collide on disk (`a` and `a/b`) get an error, not a dropped connection that clients try again
  for two minutes;
* a full disk is an error that says so, not a dropped connection.
"""

import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.server import Request, Response

from local_cloud.emulators.gcs_storage import LOCK, DurableStorage

Handler = Callable[[Request, Response, DurableStorage], None]
Route = tuple[str, dict[str, Handler]]
"""Pattern of the path, and the handler of each method."""

PAGE_SIZE = "1000"


def mended(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the emulator's routes with the changes described above."""
    return tuple(
        (
            # the emulator's patterns end in `.*[^/]+`, which refuses a name that ends in `/`
            pattern.replace("(?P<object_id>.*[^/]+)$", "(?P<object_id>.+)$") if "/o/" in pattern else pattern,
            {
                method: _guarded(_paged(handler) if handler is objects.ls else handler)
                for method, handler in methods.items()
            },
        )
        for pattern, methods in routes
    )


def _guarded(handler: Handler) -> Handler:
    def run(request: Request, response: Response, storage: DurableStorage) -> None:
        read_body(request)
        with LOCK:
            try:
                if _precondition_fails(request, storage):
                    message = "At least one of the pre-conditions you specified did not hold."
                    _refuse(response, HTTPStatus.PRECONDITION_FAILED, "conditionNotMet", message)
                else:
                    handler(request, response, storage)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                message = "This emulator keeps objects as files: it cannot hold both `a` and `a/b`."
                _refuse(response, HTTPStatus.BAD_REQUEST, "invalid", message)
            except OSError as error:  # a full disk
                _refuse(response, HTTPStatus.INTERNAL_SERVER_ERROR, "backendError", str(error))

    return run


def read_body(request: Request) -> Any:  # bytes, or parsed JSON
    """Receive the body, which the request keeps: a slow client must not hold the lock meanwhile."""
    return request.data


def _precondition_fails(request: Request, storage: DurableStorage) -> bool:
    wanted = _parameter(request, "ifGenerationMatch")
    # the chunks of a resumable upload repeat the parameter, which was checked when it began
    if wanted is None or request.method == "GET" or "upload_id" in request.query:
        return False
    bucket = request.params.get("dest_bucket_name") or request.params["bucket_name"]
    current = storage.objects.get(bucket, {}).get(_target(request), {})
    return str(current.get("generation", "0")) != wanted


def _target(request: Request) -> str | None:
    """The name of the object that a request writes or deletes: in the path, the query or the body."""
    in_path = request.params.get("dest_object_id") or request.params.get("object_id")
    name: str | None = in_path or _parameter(request, "name")
    if name is None and isinstance(request.data, dict):
        name = request.data.get("name") or request.data.get("meta", {}).get("name")
    return name


def _paged(handler: Handler) -> Handler:
    def run(request: Request, response: Response, storage: DurableStorage) -> None:
        handler(request, response, storage)
        if response.status != HTTPStatus.OK:
            return
        body: dict[str, Any] = json.loads(response._content)
        after = _parameter(request, "pageToken") or ""
        size = int(_parameter(request, "maxResults") or PAGE_SIZE)
        entries: dict[str, dict[str, Any] | None] = {item["name"]: item for item in body["items"]}
        entries |= dict.fromkeys(body["prefixes"])
        names = sorted(name for name in entries if name > after)
        page = names[:size]
        body["items"] = [entries[name] for name in page if entries[name] is not None]
        body["prefixes"] = [name for name in page if entries[name] is None]
        if len(names) > size:
            body["nextPageToken"] = page[-1]
        response.json(body)

    return run


def _parameter(request: Request, name: str) -> str | None:
    values = request.query.get(name)
    return values[0] if values else None


def _refuse(response: Response, status: HTTPStatus, reason: str, message: str) -> None:
    response.status = status
    error = {"domain": "global", "reason": reason, "message": message}
    response.json({"error": {"code": status.value, "message": message, "errors": [error]}})
