"""`POST /token`: a refresh token for an access token, as Google has it.

The access token opens both YouTube APIs and no other. The refresh token stays the same. When its consent is taken
back it is refused, and good again once the consent is: the real account would then give a new one.
"""

from aiohttp import web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.tokens import Client, TokenStore, claimed_client, token_refused
from local_cloud.apis.youtube.settings import SettingsSwitch

DEMO_REFRESH_TOKEN = "windrow-demo-refresh-token"  # noqa: S105
"""The one refresh token there is; it opens nothing but this fake."""
SCOPES = (
    "https://www.googleapis.com/auth/youtube.readonly",
    "https://www.googleapis.com/auth/yt-analytics.readonly",
    "https://www.googleapis.com/auth/yt-analytics-monetary.readonly",
)


class GoogleTokenEndpoint:
    """Issues access tokens while the consent lasts."""

    def __init__(self, client: Client, settings: SettingsSwitch, tokens: TokenStore, counters: Counters) -> None:
        self._client = client
        self._settings = settings
        self._tokens = tokens
        self._counters = counters

    def endpoint(self) -> Endpoint:
        """Describe the route."""
        return Endpoint(
            api="google_oauth",
            method="POST",
            path="/token",
            answer=self.answer,
            refuse=lambda status, message: token_refused(status, "internal_failure", message),
            issues_tokens=True,
        )

    async def answer(self, request: web.Request) -> web.Response:
        """Issue a token, or say what is wrong with the request."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        grant = form.get("grant_type", "")
        if grant != "refresh_token":
            return token_refused(400, "unsupported_grant_type", f"Invalid grant_type: {grant}")
        client = claimed_client(request.headers.get("Authorization"), form)
        if client is None or client.client_id != self._client.client_id:
            return token_refused(401, "invalid_client", "The OAuth client was not found.")
        if client != self._client:
            return token_refused(401, "invalid_client", "The provided client secret is invalid.")
        if not form.get("refresh_token"):
            return token_refused(400, "invalid_request", "Missing required parameter: refresh_token")
        if form["refresh_token"] != DEMO_REFRESH_TOKEN or not self._settings.current.consent:
            return token_refused(400, "invalid_grant", "Token has been expired or revoked.")
        self._counters.tokens_issued += 1
        return json_response(self._tokens.grant() | {"scope": " ".join(SCOPES)}, headers={"Cache-Control": "no-store"})
