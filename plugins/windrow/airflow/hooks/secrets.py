"""Remember the secrets of connections, so that nothing of them is shown."""

import json
from collections.abc import Iterable, Iterator

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.connect.fields import COMMON, FIELDS
from windrow.model.redact import know

_MOST = 200
"""Secrets of one connection. To look for one takes 10 ms in a text that has escaped characters."""


def know_secrets(conn_ids: Iterable[str]) -> None:
    """Remember the password of each connection, and the fields of its extra that are secret or that are not known."""
    for conn_id in conn_ids:
        try:
            found = BaseHook.get_connection(conn_id)
            extra = json.loads(found.extra or "{}")
        except (AirflowNotFoundException, ValueError):
            continue  # whoever needs the connection says what is wrong with it
        known = {**FIELDS, **COMMON}
        fields = extra.items() if isinstance(extra, dict) else ()
        texts = [text for name, value in fields if name not in known or known[name].secret for text in _texts(value)]
        know(found.password, *texts[:_MOST])


def _texts(value: object) -> Iterator[str]:
    """Yield the texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
