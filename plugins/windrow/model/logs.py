"""Log lines with fields of their own: the stream, the run and the key of the query that they are about.

The fields are context variables, so every line has them, also those of other packages. Airflow writes task logs with
structlog, which adds all context variables whose names begin with ``structlog_``. Other processes call `configure`.
structlog itself is not imported: that takes half a second of CPU, which a function and the command would pay at start.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import TextIO

import orjson

from windrow.model.plan import Run
from windrow.model.redact import blot

_STREAM, _RUN, _KEY = FIELDS = tuple(ContextVar[str](f"structlog_{name}") for name in ("stream", "run", "key"))
_PREFIX = len("structlog_")
_LONGEST = 300
"""Characters of a field."""


@contextmanager
def about(run: Run | None = None, *, key: str = "") -> Iterator[None]:
    """Add fields to every line that this task or thread logs within the block.

    :param key: of the query.
    """
    tokens = begin(run, key=key)
    try:
        yield
    finally:
        for field, token in tokens:
            field.reset(token)


def begin(run: Run | None = None, *, key: str = "") -> list[tuple[ContextVar[str], Token[str]]]:
    """Add fields to every further line of this task or thread. Return what `about` takes back."""
    values = ((_KEY, key), *(((_STREAM, run.dataset), (_RUN, run.run_id)) if run else ()))
    return [(field, field.set(_on_one_line(value[:_LONGEST]))) for field, value in values if value]


def name_query(key: str) -> None:
    """Add the key of a query to every further line of this task or thread, in place of the key before.

    For workers that log about queries only: it takes a tenth of the time of `about`.
    """
    _KEY.set(_on_one_line(key[:_LONGEST]))


def fields() -> dict[str, str]:
    """Return the present fields by name."""
    return {field.name[_PREFIX:]: value for field in FIELDS if (value := field.get(""))}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON, as Cloud Logging and CloudWatch read it, without known secrets.

    ``extra={"fields": {...}}`` adds fields to one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        line = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            "message": message,
            **fields(),
            **getattr(record, "fields", {}),
        }
        shown = {name: _safe(value) if isinstance(value, str) else value for name, value in line.items()}
        return _on_one_line(orjson.dumps(shown, default=str).decode())


class TextLines(logging.Formatter):
    """Formats a record as text for a terminal, without known secrets. A further line of a message is indented.

    So no message, whatever it quotes, looks like a line of its own.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and those of a traceback."""
        return "\n    ".join(map(_on_one_line, _safe(super().format(record)).splitlines()))


def configure(*, as_json: bool, to: TextIO | None = None) -> None:
    """Log everything from INFO, including messages of other packages.

    :param to: where to; by default standard output.
    """
    handler = logging.StreamHandler(to or sys.stdout)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _safe(text: str) -> str:
    """Return a text that can be encoded, without known secrets."""
    return blot(text).encode("utf-8", "backslashreplace").decode()


def _on_one_line(text: str) -> str:
    """Escape what ends a line or moves the cursor, so that JSON stays JSON."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
