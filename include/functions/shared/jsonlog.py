"""Logs in the format of Cloud Logging: one JSON object per line, with a severity."""

import logging
import sys

import orjson


class JsonLines(logging.Formatter):
    """Formats a record as JSON; ``extra={"fields": {...}}`` adds fields to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        line = {"severity": record.levelname, "message": message, **getattr(record, "fields", {})}
        return orjson.dumps(line, default=str).decode()


def configure() -> None:
    """Log everything from INFO to stdout, including messages of libraries."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
