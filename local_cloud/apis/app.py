"""The server put together: admin routes, the token endpoint, and the routes of every API."""

from collections.abc import Sequence

from aiohttp import web

from local_cloud.apis.admin import Admin
from local_cloud.apis.counters import Counters
from local_cloud.apis.faults import Faults, FaultSwitch
from local_cloud.apis.github.service import Github
from local_cloud.apis.middleware import Middleware
from local_cloud.apis.passengers import Passenger
from local_cloud.apis.spotify.catalogue import Catalogue
from local_cloud.apis.spotify.routes import SpotifyApi
from local_cloud.apis.titanic import TitanicApi
from local_cloud.apis.tokens import Client, TokenEndpoint, TokenStore
from local_cloud.apis.youtube.api import YoutubeApi


def make_app(passengers: Sequence[Passenger], client: Client, faults: Faults) -> web.Application:
    """Compose the fake APIs. A new API is a module with `endpoints()`, and a line here."""
    switch = FaultSwitch(faults)
    counters = Counters()
    tokens, google_tokens, spotify_tokens = (TokenStore(switch) for _ in range(3))
    youtube = YoutubeApi(client, google_tokens, counters)
    spotify = SpotifyApi(client, spotify_tokens, counters, Catalogue())
    middleware = Middleware(switch, counters)
    github = Github(counters)
    app = web.Application()
    app.add_routes(Admin(switch, counters, (tokens, google_tokens, spotify_tokens)).routes())
    app.add_routes(youtube.admin_routes())
    app.add_routes(spotify.admin_routes())
    app.add_routes(github.admin_routes())
    for endpoint in (
        TokenEndpoint(client, tokens, counters).endpoint(),
        *TitanicApi(passengers, tokens).endpoints(),
        *youtube.endpoints(),
        *spotify.endpoints(),
        *github.endpoints(),
    ):
        app.router.add_route(endpoint.method, endpoint.path, middleware.handler(endpoint))
    return app
