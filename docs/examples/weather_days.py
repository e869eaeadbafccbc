"""Weather of places, day by day: one call for each place, with an array for each column.

The connection `weather` has the host and the API key:
AIRFLOW_CONN_WEATHER='{"conn_type": "http", "host": "https://archive.example.com",
"extra": {"auth": "query_key", "param": "apikey", "api_key": "change-me"}}'
"""

from windrow.airflow.dags import harvest_dag
from windrow.declare.rows import Arrays
from windrow.declare.stream import Declared, Each
from windrow.declare.times import Days
from windrow.model.contract import Column, Kind
from windrow.model.table import Table


class WeatherDays(Declared):
    """One record for each place and day."""

    dataset = "weather_days"
    get = "/v1/archive"
    each = Each("place", param="places", key="name")
    time = Days(trailing=3)
    params = {
        "latitude": "{place.lat}",
        "longitude": "{place.lon}",
        "start_date": "{first}",
        "end_date": "{last}",
        "daily": "temperature_2m_max,temperature_2m_min,rain_sum",
        "timezone": "UTC",
    }
    rows = Arrays("daily")
    columns = (
        Column("place", "{place.name}", Kind.STRING, "Name of the place.", required=True),
        Column("day", "time", Kind.DATE, "Day.", required=True),
        Column("latitude", "^latitude", Kind.FLOAT, "Degrees north, as answered.", required=True),
        Column("longitude", "^longitude", Kind.FLOAT, "Degrees east, as answered.", required=True),
        Column("temperature_max", "temperature_2m_max", Kind.FLOAT, "Highest temperature, Celsius."),
        Column("temperature_min", "temperature_2m_min", Kind.FLOAT, "Lowest temperature, Celsius."),
        Column("rain_mm", "rain_sum", Kind.FLOAT, "Rain, mm."),
    )
    table = Table(
        key=("place", "day"),
        partition="day",
        watermark="day",
        description="Weather of places, one row a place and day.",
    )


dag = harvest_dag(
    WeatherDays,
    conn_id="weather",
    schedule="0 6 * * *",
    defaults={"places": "{{ var.value.get('weather_places', '[]') }}"},
)
