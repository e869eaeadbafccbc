"""What all routes of the two APIs share: the token, the unit they cost, and the shape of what is refused."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.tokens import TokenStore, bearer_token
from local_cloud.apis.youtube.errors import (
    BAD_TOKEN,
    NO_TOKEN,
    Refusal,
    failed,
    quota_exceeded,
    too_fast,
    unauthenticated,
)
from local_cloud.apis.youtube.params import normalised
from local_cloud.apis.youtube.quota import Bucket, Quota
from local_cloud.apis.youtube.settings import SettingsSwitch

Read = Callable[[MultiMapping[str]], dict[str, Any]]
"""Answers the parameters of a call, or raises Refusal."""


class Routes:
    """Makes endpoints out of functions that answer parameters."""

    def __init__(self, settings: SettingsSwitch, quota: Quota, tokens: TokenStore) -> None:
        self._settings = settings
        self._quota = quota
        self._tokens = tokens

    def get(
        self,
        api: str,
        path: str,
        read: Read,
        bucket: Bucket,
        *,
        items: str | None = None,
        key: Callable[[MultiMapping[str]], str] = normalised,
    ) -> Endpoint:
        """Describe a GET whose every call takes a unit out of `bucket`; `key` names what it asks for."""

        async def answer(request: web.Request) -> web.Response:
            try:
                if not self._quota.take(bucket):
                    raise quota_exceeded()
                return json_response(read(request.query))
            except Refusal as refusal:
                return refusal.response()

        return Endpoint(
            api=api,
            method="GET",
            path=path,
            answer=answer,
            refuse=self.refuse,
            key=lambda request: key(request.query) or None,
            authorize=self.authorize,
            items=items,
        )

    def authorize(self, request: web.Request) -> web.Response | None:
        """Refuse a call without a good access token; None: it may pass."""
        token = bearer_token(request)
        if not token:
            return unauthenticated(NO_TOKEN, "required")
        return None if self._tokens.state(token) == "good" else unauthenticated(BAD_TOKEN, "authError")

    def refuse(self, status: int, message: str) -> web.Response:
        """Put a refusal that a fault asks for into Google's shape."""
        if status == 401:
            return unauthenticated(BAD_TOKEN, "authError")
        if status == 429:
            return too_fast(self._settings.current.throttle_status).response()
        return failed(status, message).response()
