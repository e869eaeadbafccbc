"""Weather and tickets with dlt's REST API source, into DuckDB."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

DAILY = {
    "temperature_max": "temperature_2m_max",
    "temperature_min": "temperature_2m_min",
    "rain_mm": "rain_sum",
}


def days(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Make rows of an array for each field."""
    daily = answer["daily"]
    for number, day in enumerate(daily["time"]):
        values = {name: daily[field][number] for name, field in DAILY.items()}
        yield {"place": answer["_places_name"], "day": day, "latitude": answer["latitude"], **values}


WEATHER = {
    "client": {
        "base_url": os.environ["API"],
        "auth": {"type": "api_key", "name": "apikey", "api_key": os.environ["KEY"], "location": "query"},
    },
    "resources": [
        dlt.resource([json.loads(os.environ.get("PLACES", "[]"))], name="places", selected=False),
        {
            "name": "weather_days",
            "endpoint": {
                "path": "v1/archive",
                "params": {
                    "latitude": "{resources.places.lat}",
                    "longitude": "{resources.places.lon}",
                    "start_date": os.environ.get("FIRST", ""),
                    "end_date": os.environ.get("LAST", ""),
                    "daily": ",".join(DAILY.values()),
                },
                "paginator": "single_page",
                "data_selector": "$",
            },
            "include_from_parent": ["name"],
            "processing_steps": [{"yield_map": days}],
            "primary_key": ["place", "day"],
            "write_disposition": "merge",
        },
    ],
}
DESK = {
    "client": {
        "base_url": os.environ["API"],
        "auth": {"type": "api_key", "name": "X-Api-Key", "api_key": os.environ["KEY"], "location": "header"},
    },
    "resources": [
        {
            "name": "desk_tickets",
            "endpoint": {
                "path": "v2/tickets/search",
                "method": "POST",
                "json": {"filter": {"updated_since": "{incremental.start_value}"}, "limit": 20},
                "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_body_path": "cursor"},
                "data_selector": "results",
                "incremental": {"cursor_path": "updated_at", "initial_value": "2020-01-01T00:00:00Z", "lag": 300},
            },
            "columns": {"amount__value": {"data_type": "decimal"}},
            "primary_key": "id",
            "write_disposition": "merge",
        }
    ],
}

if __name__ == "__main__":
    source = rest_api_source(WEATHER if sys.argv[1] == "weather" else DESK)  # type: ignore[arg-type]
    duckdb = dlt.destinations.duckdb("peer.duckdb")
    dlt.pipeline(sys.argv[1], destination=duckdb, dataset_name="main", pipelines_dir=".").run(source)
