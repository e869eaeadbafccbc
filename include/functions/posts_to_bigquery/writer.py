"""Insert rows into a BigQuery table with streaming inserts: concurrent rows go into one call."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google.auth
import requests
from environment import Environment
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

SCOPE = "https://www.googleapis.com/auth/bigquery.insertdata"
MOST_ROWS = 500
"""Maximum rows of one call, as BigQuery recommends."""
_TIMEOUT_S = 30.0

Row = Mapping[str, Any]


class NotWritten(Exception):
    """A row was not written. ``final``: the row itself is invalid, so a retry does not help."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(slots=True)
class _Waiting:
    insert_id: str
    row: Row
    done: "asyncio.Future[None]"


class Writer:
    """Writes to one table. Used in one event loop."""

    def __init__(self, environment: Environment) -> None:
        project, dataset, table = environment.table.rsplit(".", 2)
        path = f"projects/{project}/datasets/{dataset}/tables/{table}/insertAll"
        self._url = f"{environment.bigquery_url}/bigquery/v2/{path}"
        self._anonymous = environment.anonymous
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._session: requests.Session | None = None

    async def write(self, insert_id: str, row: Row) -> None:
        """Write a row; it is in the table on return. BigQuery removes duplicates within about a minute.

        :raises NotWritten: the row was not written.
        """
        waiting = _Waiting(insert_id, row, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await waiting.done

    async def _write(self) -> None:
        """Write waiting rows until there are none."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_ROWS], self._waiting[MOST_ROWS:]
            try:
                failed = await asyncio.to_thread(self._insert, batch)
            except NotWritten as error:
                failed = dict.fromkeys(range(len(batch)), error)
            for place, waiting in enumerate(batch):
                if waiting.done.done():  # its request was cancelled
                    continue
                if place in failed:
                    waiting.done.set_exception(failed[place])
                else:
                    waiting.done.set_result(None)
        self._writing = None

    def _insert(self, batch: Sequence[_Waiting]) -> dict[int, NotWritten]:
        """Make one call, and return the failed rows. Runs in a thread.

        :raises NotWritten: all rows failed.
        """
        body = {"rows": [{"insertId": one.insert_id, "json": one.row} for one in batch], "skipInvalidRows": True}
        try:
            self._session = self._session or self._open()
            answer = self._session.post(self._url, json=body, timeout=_TIMEOUT_S)
        except (requests.RequestException, GoogleAuthError) as error:
            raise NotWritten(f"BigQuery did not answer: {type(error).__name__}") from error
        if not answer.ok:
            raise NotWritten(f"BigQuery answered {answer.status_code}: {answer.text[:300]}")
        return {
            int(error["index"]): NotWritten(f"BigQuery rejected the row: {error['errors']}"[:400], final=True)
            for error in answer.json().get("insertErrors", ())
        }

    def _open(self) -> requests.Session:
        credentials = AnonymousCredentials() if self._anonymous else google.auth.default(scopes=[SCOPE])[0]
        return AuthorizedSession(credentials)
