"""What Airflow has to know of Windrow by name: its pages in the UI, and what its deadlines count from."""

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from windrow.airflow.operators.deadline import FirstQueuedAt
from windrow.operators.deadline import FirstQueuedAt as OldFirstQueuedAt


def _apps() -> list[dict[str, Any]]:
    """Make the web app in the API server only: Airflow loads plugins in its other components, too."""
    if "airflow.api_fastapi.app" not in sys.modules:
        return []
    from windrow.ui.app import PREFIX, app  # noqa: PLC0415

    return [{"app": app, "url_prefix": PREFIX, "name": "Windrow"}]


def _links() -> list[Any]:
    """Make the links of tasks in the API server only: it alone shows them, and they import all operators."""
    if "airflow.api_fastapi.app" not in sys.modules:
        return []
    from windrow.airflow.links import HarvestRunLink  # noqa: PLC0415

    return [HarvestRunLink()]


class WindrowPlugin(AirflowPlugin):
    """Registers them, nothing else."""

    name = "windrow"
    deadline_references = [FirstQueuedAt, OldFirstQueuedAt]  # noqa: RUF012 - Airflow declares it so
    fastapi_apps = _apps()
    operator_extra_links = _links()
    external_views = [  # noqa: RUF012 - Airflow declares it so
        {
            "name": "Harvest",
            "href": "windrow/harvest/",  # relative: Airflow may be served below a path
            "destination": "nav",
            "url_route": "harvest",
            "icon": "windrow/static/harvest.svg",
            "icon_dark_mode": "windrow/static/harvest-dark.svg",
            "nav_top_level": True,
        },
        {
            "name": "Harvest",
            "href": "windrow/harvest/run?dag={DAG_ID}&id={RUN_ID}",
            "destination": "dag_run",
            "url_route": "harvest-run",
        },
        {
            "name": "Posts",
            "href": "windrow/boards/x_posts/",
            "destination": "nav",
            "category": "browse",
            "url_route": "x-posts-board",
        },
    ]
