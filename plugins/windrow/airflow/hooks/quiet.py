"""A hook for HTTP that logs nothing: that of Airflow logs addresses, which can be secrets, and what servers answer."""

import logging
from typing import Any

from airflow.providers.http.hooks.http import HttpHook

_SILENT = logging.Logger("silent", logging.CRITICAL + 1)


class QuietHook(HttpHook):
    """Raises errors, and logs nothing of them. The caller says what is safe to say."""

    @property
    def log(self) -> Any:
        """The logger, which drops everything."""
        return _SILENT
