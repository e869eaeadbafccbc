"""Answers of ministack that wait until what they promise is on disk.

Calls that change something share a save: all that were answered before it began are let go when it is done. A
service is saved whole, which is little work for what a demo or a test holds.
"""

import asyncio
import datetime
import decimal
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.sax.saxutils import escape

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
"""Where a signature names the service."""
READS = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "Receive", "Search", "TransactGet")
"""How calls begin that change nothing which has to last. A message that was received may be received again."""


class Durable:
    """An ASGI application around ministack's own."""

    def __init__(self, ministack: ModuleType) -> None:
        self._ministack = ministack
        self._journal = Journal(ministack)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request; hold its answer back until what it changed is saved."""
        service = changed_service(scope) if scope["type"] == "http" else None
        try:
            await self._serve(service, scope, receive, send)
        except (OSError, Unsaved) as error:  # a full disk
            await _refuse(send, str(error), as_xml=service in {None, "s3"})

    async def _serve(self, service: str | None, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if service is None:
            await self._ministack.app(scope, receive, send)
            return
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        await self._ministack.app(scope, receive, hold)
        await self._journal.saved(service)
        for message in held:
            await send(message)


class Unsaved(BaseException):
    """An object was not written. No `Exception`, as ministack answers each of those without saying what it is."""


async def _refuse(send: Send, why: str, *, as_xml: bool) -> None:
    """Answer that nothing is promised, and why."""
    text = f"<Error><Code>InternalError</Code><Message>{escape(why)}</Message></Error>"
    body = text if as_xml else json.dumps({"__type": "InternalFailure", "message": why})
    kind = b"application/xml" if as_xml else b"application/x-amz-json-1.0"
    await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body.encode()})


def keep_objects(s3: ModuleType) -> None:
    """Let a call for an object of S3 fail whose file could not be written: ministack only logs it, and answers 200."""
    write, persist = s3._atomic_write, s3._persist_object
    failed: list[OSError] = []

    def written(*arguments: Any, **options: Any) -> None:
        try:
            write(*arguments, **options)
        except OSError as error:
            failed.append(error)
            raise

    def persisted(*arguments: Any) -> None:
        failed.clear()
        persist(*arguments)
        if failed:
            raise Unsaved(failed[0])

    s3._atomic_write, s3._persist_object = written, persisted


def changed_service(scope: Mapping[str, Any]) -> str | None:
    """Name the service that a request may change; None when it changes none, or only an object of S3.

    Objects are on disk when S3 answers, as ministack sees to that itself, see `keep_objects`.
    """
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    signed = SCOPE.search(headers.get(b"authorization", ""))
    if signed is None or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return None
    action = headers.get(b"x-amz-target", "").rpartition(".")[2]
    if action.startswith(READS):
        return None
    service = signed[1]
    is_object = service == "s3" and "/" in scope["path"].strip("/")
    return None if is_object else service


class Journal:
    """Saves services, one save for all who wait."""

    def __init__(self, ministack: ModuleType) -> None:
        self._ministack = ministack
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._saving: asyncio.Task[None] | None = None

    async def saved(self, service: str) -> None:
        """Return when the state that this service has now is on disk.

        :raises OSError: it cannot be written.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(service, []).append(done)
        if self._saving is None:
            self._saving = asyncio.create_task(self._save())
        await done

    async def _save(self) -> None:
        try:
            while self._waiting:
                service, waiting = next(iter(self._waiting.items()))
                del self._waiting[service]
                try:
                    for name, text in self._states(service).items():
                        await asyncio.to_thread(self._write, name, text)
                except Exception as error:  # whoever waits for the save has to learn of it
                    for done in waiting:
                        done.cancelled() or done.set_exception(error)
                else:
                    for done in waiting:
                        done.cancelled() or done.set_result(None)
        finally:
            self._saving = None

    def _states(self, service: str) -> dict[str, str]:
        """Take the state of a service as it is at this moment: on the loop, where its calls are served."""
        getters = self._ministack._build_persistence_save_dict()
        states = {}
        for name in keys_of(self._ministack, service):
            state = getters[name]() if name in getters else None
            if state is not None:
                states[name] = encode(name, state)
        return states

    def _write(self, name: str, text: str) -> None:
        from ministack.core import persistence  # noqa: PLC0415  reads its environment when it is imported

        folder = Path(persistence.STATE_DIR)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{name}.json.new"  # not `.tmp`, which is what the save at the end writes
        fresh.write_text(text)
        fresh.replace(folder / f"{name}.json")


def keys_of(ministack: ModuleType, service: str) -> list[str]:
    """Name the files that hold the state of a service."""
    registry = ministack.SERVICE_REGISTRY
    entry = registry.get(service) or registry.get(ministack.SERVICE_NAME_ALIASES.get(service, ""), {})
    if not entry:
        return []
    return [entry.get("state_key", entry["module"]), *entry.get("sub_modules", ())]


def encode(service: str, state: object) -> str:
    """Write a state as ministack reads it, with the instants and numbers that its own encoder does not know."""
    from ministack.core import persistence  # noqa: PLC0415  reads its environment when it is imported

    def default(value: object) -> object:
        if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal | uuid.UUID):
            return str(value)
        return list(value) if isinstance(value, set | frozenset) else persistence._json_default(value)

    version = persistence._state_format_version(service)
    return json.dumps({"__ministack_format__": version, "payload": state}, default=default)
