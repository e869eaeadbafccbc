"""The fake YouTube put together."""

from collections.abc import Iterable, Iterator

from aiohttp import web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import Endpoint
from local_cloud.apis.tokens import Client, TokenStore
from local_cloud.apis.youtube.admin import YoutubeAdmin
from local_cloud.apis.youtube.analytics import AnalyticsApi
from local_cloud.apis.youtube.data_api import DataApi
from local_cloud.apis.youtube.oauth import GoogleTokenEndpoint
from local_cloud.apis.youtube.quota import Quota
from local_cloud.apis.youtube.routes import Routes
from local_cloud.apis.youtube.settings import SettingsSwitch


class YoutubeApi:
    """Two APIs, their token endpoint and their admin routes, over one clock. `tokens` are theirs alone."""

    def __init__(self, client: Client, tokens: TokenStore, counters: Counters) -> None:
        self._client = client
        self._tokens = tokens
        self._counters = counters
        self._settings = SettingsSwitch()
        self._quota = Quota(self._settings)

    def admin_routes(self) -> Iterable[web.RouteDef]:
        """Give the admin routes for the router."""
        return YoutubeAdmin(self._settings, self._quota, self._tokens).routes()

    def endpoints(self) -> Iterator[Endpoint]:
        """Describe the routes."""
        yield GoogleTokenEndpoint(self._client, self._settings, self._tokens, self._counters).endpoint()
        routes = Routes(self._settings, self._quota, self._tokens)
        yield from DataApi(self._settings).endpoints(routes)
        yield from AnalyticsApi(self._settings).endpoints(routes)
