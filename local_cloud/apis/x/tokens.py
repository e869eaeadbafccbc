"""The app's bearer token: one, without an end, until it is revoked."""

import secrets

from aiohttp import BasicAuth, web

from local_cloud.apis.endpoint import json_response
from local_cloud.apis.tokens import Client
from local_cloud.apis.x.problems import refuse
from local_cloud.settings import X_TOKEN


class AppToken:
    """The token that is good now. The first one is known, as if it had been made in the developer console."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token = X_TOKEN

    def revoke(self) -> None:
        """Make the token bad; the next one is another."""
        self._token = f"AAAA{secrets.token_urlsafe(24)}"

    def restore(self) -> None:
        """Make the token of the start good again."""
        self._token = X_TOKEN

    def authorize(self, request: web.Request) -> web.Response | None:
        """Refuse a request without the token; None: it may pass."""
        given = request.headers.get("Authorization", "")
        return None if given == f"Bearer {self._token}" else refuse(401, "Unauthorized")

    async def answer(self, request: web.Request) -> web.Response:
        """Answer `POST /oauth2/token`: the same token again, and no word about its end."""
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            error = {"code": 170, "label": "forbidden_missing_parameter", "message": "Missing required parameter"}
            return json_response({"errors": [error]}, 403)
        try:
            basic = BasicAuth.decode(request.headers.get("Authorization", ""))
            given = Client(basic.login, basic.password)
        except ValueError:
            given = Client("", "")
        if given != self._client:
            message = "Unable to verify your credentials"
            return json_response(
                {"errors": [{"code": 99, "label": "authenticity_token_error", "message": message}]}, 403
            )
        return json_response({"token_type": "bearer", "access_token": self._token})
