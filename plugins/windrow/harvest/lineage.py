"""Where a row comes from: the query of its key, the answer in MongoDB, the run, and the code that made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.reports import Found
from windrow.store.status import StatusStore
from windrow.store.summary import Summary

SEARCHED = 200
"""Runs of each stream in which a key is looked for."""
_DETAILED = 20
"""Results whose queries are read."""
_SHOWN = 2_000
"""Characters of a body that is sent."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A key in one run."""

    found: Found
    request: str = ""
    """The call as text, without headers and credentials; empty if the plan does not have it, or if it was not read."""
    code: Mapping[str, Any] = field(default_factory=dict)
    """What the run noted about its code: ``version``, ``bundle``, ``dag_version``; empty if it did not."""

    @property
    def made_by(self) -> str:
        """The code of the run, as text; empty if it is not known."""
        version, bundle = self.code.get("version"), self.code.get("bundle")
        return f"Windrow {version}{f', DAG bundle {bundle}' if bundle else ''}" if version else ""

    @property
    def sql(self) -> str:
        """The query that finds its rows in the warehouse. The literals are those of BigQuery."""
        table = self.found.dataset.replace("_", ".", 1)
        return f"SELECT * FROM {table} WHERE _key = {_literal(self.found.key)}"  # noqa: S608 - shown, not run

    @property
    def stored(self) -> str:
        """The command of mongosh that finds the raw answer; empty if there is none."""
        if self.found.state == "open":
            return ""
        run, aside = f"{self.found.run_id}|{self.found.key}", self.found.state == "quarantined"
        place = "windrow_quarantine" if aside else self.found.dataset
        id_ = orjson.dumps(f"{self.found.dataset}|{run}" if aside else run).decode()
        return f'db.getCollection("{place}").findOne({{_id: {id_}}})'


def origins(store: StatusStore, key: str, summaries: Sequence[Summary]) -> list[Origin]:
    """Return what is known about a key in these runs, the newest answer first.

    :raises StagingUnavailable: MongoDB did not answer.
    """
    by_run = {(one.dataset, one.run_id): one for one in summaries}
    found = store.find(key, [Run(*place) for place in by_run])
    return [
        Origin(
            one,
            _request(store.query(one)) if number < _DETAILED else "",
            by_run[one.dataset, one.run_id].steps.get("code", {}),
        )
        for number, one in enumerate(found)
    ]


def _request(query: Query | None) -> str:
    if query is None:
        return ""
    asked = "&".join(f"{name}={value}" for name, value in query.params)
    line = f"{'POST' if query.body else 'GET'} {query.path}{f'?{asked}' if asked else ''}"
    return f"{line} {query.body}"[:_SHOWN].rstrip()


def _literal(text: str) -> str:
    """Write a string for SQL: in single quotes, which each warehouse knows, unless it has characters to escape."""
    plain = text.isprintable() and not {"'", chr(92)} & set(text)
    return f"'{text}'" if plain else orjson.dumps(text).decode()
