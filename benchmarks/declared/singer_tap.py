"""Weather and tickets as a tap of Meltano's SDK."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import requests
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import APIKeyAuthenticator
from singer_sdk.pagination import JSONPathPaginator

DAILY = ("temperature_2m_max", "temperature_2m_min", "rain_sum")


class WeatherDays(RESTStream[Any]):
    """One record for each place and day."""

    name = "weather_days"
    path = "/v1/archive"
    primary_keys = ("place", "day")
    schema = th.PropertiesList(
        th.Property("place", th.StringType, required=True),
        th.Property("day", th.DateType, required=True),
        th.Property("latitude", th.NumberType),
        th.Property("temperature_max", th.NumberType),
        th.Property("temperature_min", th.NumberType),
        th.Property("rain_mm", th.NumberType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """The address of the API."""
        return str(self.config["api"])

    @property
    def authenticator(self) -> APIKeyAuthenticator:
        """The key, in the query string."""
        return APIKeyAuthenticator(key="apikey", value=self.config["key"], location="params")

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """One call for each place."""
        return [dict(zip(("place", "lat", "lon"), one.split("|"), strict=True)) for one in self.config["places"]]

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        """Return the query string."""
        return {
            "latitude": context["lat"],
            "longitude": context["lon"],
            "start_date": self.config["first"],
            "end_date": self.config["last"],
            "daily": ",".join(DAILY),
        }

    def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        """Make rows of an array for each field."""
        answer = response.json()
        for day, high, low, rain in zip(*answer["daily"].values(), strict=True):
            yield {
                "day": day,
                "latitude": answer["latitude"],
                "temperature_max": high,
                "temperature_min": low,
                "rain_mm": rain,
            }


class DeskTickets(RESTStream[Any]):
    """One record for each version of a ticket."""

    name = "desk_tickets"
    path = "/v2/tickets/search"
    http_method = "POST"
    records_jsonpath = "$.results[*]"
    primary_keys = ("id",)
    replication_key = "updated_at"
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("subject", th.StringType),
        th.Property("status", th.StringType),
        th.Property("requester", th.ObjectType(additional_properties=True)),
        th.Property("amount", th.ObjectType(additional_properties=True)),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
        th.Property("deleted", th.BooleanType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """The address of the API."""
        return str(self.config["api"])

    @property
    def authenticator(self) -> APIKeyAuthenticator:
        """The key, in a header."""
        return APIKeyAuthenticator(key="X-Api-Key", value=self.config["key"], location="header")

    def get_new_paginator(self) -> JSONPathPaginator:
        """Read the cursor from the body."""
        return JSONPathPaginator("$.next_cursor")

    def prepare_request_payload(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        """Return the body."""
        start = self.get_starting_timestamp(context)
        since = (start - timedelta(minutes=5)).isoformat() if start else "2020-01-01T00:00:00+00:00"
        return {"filter": {"updated_since": since}, "limit": 20, "cursor": next_page_token}


class PeerTap(Tap):
    """Both streams."""

    name = "tap-peer"
    config_jsonschema = th.PropertiesList(
        th.Property("api", th.StringType, required=True),
        th.Property("key", th.StringType, required=True, secret=True),
        th.Property("places", th.ArrayType(th.StringType)),
        th.Property("first", th.StringType),
        th.Property("last", th.StringType),
    ).to_dict()

    def discover_streams(self) -> list[RESTStream[Any]]:
        """Return the streams."""
        return [WeatherDays(self), DeskTickets(self)]


if __name__ == "__main__":
    PeerTap.cli()
