"""What limits the harvests: quotas with what is left, pools, and credentials by days left."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.harvest.status.snapshot import Snapshot
from windrow.model import registry
from windrow.model.quota import Quota, restated

_KINDS = {"refresh_token": "refresh_token", "client_credentials": "token_path", "bearer": "token"}
"""Kinds of auth that a connection does not have to name, each with the field that tells."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """The use of a quota in its present window. ``units`` is None if its size is not known."""

    name: str
    account: str
    taken: int
    units: int | None
    ends_at: str
    closed: bool
    streams: tuple[str, ...]

    @property
    def left(self) -> int | None:
        """Units that are left; None if the size is not known."""
        if self.closed:
            return 0
        return None if self.units is None else max(0, self.units - self.taken)

    @property
    def share(self) -> float:
        """The part that is taken, from 0 to 1."""
        if self.closed:
            return 1.0
        return min(1.0, self.taken / self.units) if self.units else 0.0


@dataclass(frozen=True, slots=True)
class Credential:
    """An Airflow connection of an API. ``days`` until its credential ends are None if the connection does not say."""

    conn_id: str
    streams: tuple[str, ...]
    account: str
    """Its login; empty for who may not read connections."""
    kind: str
    owners: int
    """Entries of its pool; 0 without a pool."""
    days: int | None
    trouble: str = ""


def read_limits(
    snapshot: Snapshot, reads_connection: Callable[[str], bool], *, today: date | None = None
) -> tuple[list[Quotas], list[Credential]]:
    """Return the quotas in use, the fullest first, and the credentials, the one that ends first is first."""
    today = today or datetime.now(UTC).date()
    by_conn: dict[str, list[str]] = {}
    for stream in snapshot.streams:
        for conn_id in stream.connections:
            by_conn.setdefault(conn_id, []).append(stream.dataset)
    declared: dict[str, tuple[Quota, list[str]]] = {}
    credentials = []
    accounts = {}
    for conn_id, datasets in by_conn.items():
        login, extra, trouble = _connection(conn_id)
        accounts[login or conn_id] = conn_id
        for dataset in datasets:
            for quota in _quotas(dataset, extra.get("quota", {})):
                declared.setdefault(quota.name, (quota, []))[1].append(dataset)
        account = login if reads_connection(conn_id) else ""
        credentials.append(_credential(conn_id, datasets, account, extra, today, trouble))
    quotas = []
    for use in snapshot.quotas:
        known = declared.get(use.name)
        if known is None and use.account not in accounts:
            continue  # of a stream that this user may not see
        conn_id = accounts.get(use.account, "another connection")
        account = use.account if use.account in accounts and reads_connection(conn_id) else conn_id
        units = known[0].units if known else None
        streams = tuple(sorted({*known[1]})) if known else ()  # one may use it by several connections
        quotas.append(Quotas(use.name, account, use.taken, units, use.ends_at, use.closed, streams))
    quotas.sort(key=lambda one: (-one.share, one.ends_at))
    credentials.sort(key=lambda one: (one.days is None, one.days or 0, one.conn_id))
    return quotas, credentials


def _connection(conn_id: str) -> tuple[str, dict[str, Any], str]:
    """Return the login and the extra of a connection, and what is wrong with it."""
    try:
        found = BaseHook.get_connection(conn_id)
        extra = json.loads(found.extra or "{}")
    except AirflowNotFoundException:
        return "", {}, "the connection does not exist"
    except ValueError:
        return "", {}, "its extra is invalid"
    if not isinstance(extra, dict):
        return found.login or "", {}, "its extra is invalid"
    # Airflow's form saves null
    return found.login or "", {name: value for name, value in extra.items() if value is not None}, ""


def _quotas(dataset: str, changes: Any) -> list[Quota]:
    declared = registry.stream(dataset).quotas if dataset in registry.streams() else ()
    try:
        return restated(declared, changes if isinstance(changes, dict) else {})
    except ValueError:
        return list(declared)


def _credential(
    conn_id: str, datasets: list[str], account: str, extra: dict[str, Any], today: date, trouble: str
) -> Credential:
    pooled = {name: value for name, value in extra.items() if isinstance(value, list) and not name.endswith("origins")}
    owners = sum(map(len, pooled.values()))
    kind = str(extra.get("auth") or ("pool" if owners else ""))
    kind = kind or next((name for name, field in _KINDS.items() if field in extra), "none")
    days = None
    with contextlib.suppress(KeyError, ValueError):
        days = (date.fromisoformat(str(extra["expires_on"])) - today).days
    return Credential(conn_id, tuple(sorted(datasets)), account, kind, owners, days, trouble)
