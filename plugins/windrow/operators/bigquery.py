"""SQL files as BigQuery jobs."""

from typing import Any


def statement(path: str) -> dict[str, Any]:
    """Make the configuration of a job that runs an SQL file, a template below ``include/sql``.

    The file is included when the task runs, so the Rendered Templates page shows the SQL that was sent.
    """
    return {"query": {"query": f"{{% include '{path}' %}}", "useLegacySql": False}}
