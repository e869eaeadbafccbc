"""The titanic API: a list of names, and one passenger for each name. Every call needs a bearer token."""

import json
from collections.abc import Iterator, Sequence
from random import Random

from aiohttp import web

from local_cloud.apis.endpoint import Endpoint, json_bytes, json_response
from local_cloud.apis.passengers import Passenger
from local_cloud.apis.tokens import TokenStore, unauthorized

ERRORS = {400: "bad_request", 404: "not_found", 429: "rate_limited"}


class TitanicApi:
    """Serves `passengers`. The list holds each name twice, in a shuffled order that never changes."""

    def __init__(self, passengers: Sequence[Passenger], tokens: TokenStore) -> None:
        self._tokens = tokens
        # encoded once: an answer then costs a look-up
        self._passengers = {str(each["Name"]): json.dumps(each, ensure_ascii=False).encode() for each in passengers}
        names = list(self._passengers) * 2
        Random(1912).shuffle(names)
        self._users = json.dumps({"users": names}, ensure_ascii=False).encode()

    def endpoints(self) -> Iterator[Endpoint]:
        """Describe the routes."""
        yield Endpoint(
            api="titanic",
            method="GET",
            path="/get_user_list",
            answer=self.user_list,
            refuse=refuse,
            authorize=self._tokens.authorize,
            items="users",
        )
        yield Endpoint(
            api="titanic",
            method="GET",
            path="/get_user_by_name",
            answer=self.user_by_name,
            refuse=refuse,
            key=lambda request: request.query.get("name"),
            authorize=self._tokens.authorize,
        )

    async def user_list(self, _request: web.Request) -> web.Response:
        """Answer with all names, each twice."""
        return json_bytes(self._users)

    async def user_by_name(self, request: web.Request) -> web.Response:
        """Answer with the passenger of exactly that name."""
        name = request.query.get("name")
        if not name:
            return refuse(400, "the query parameter name is missing")
        passenger = self._passengers.get(name)
        return json_bytes(passenger) if passenger else refuse(404, f"no passenger is named '{name}'")


def refuse(status: int, message: str) -> web.Response:
    """Refuse a call in the API's shape of an error."""
    if status == 401:
        return unauthorized(message)
    return json_response({"error": ERRORS.get(status, "server_error"), "message": message}, status)
