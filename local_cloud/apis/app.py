"""The server put together: admin routes, the token endpoint, and the routes of every API."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from local_cloud.apis.admin import Admin, Controls
from local_cloud.apis.counters import Crowd
from local_cloud.apis.faults import Faults
from local_cloud.apis.github.service import Github
from local_cloud.apis.middleware import Middleware
from local_cloud.apis.passengers import Passenger
from local_cloud.apis.spotify.catalogue import make_music
from local_cloud.apis.spotify.routes import SpotifyApi
from local_cloud.apis.titanic import TitanicApi
from local_cloud.apis.tokens import Client, TokenEndpoint
from local_cloud.apis.x.api import XApi
from local_cloud.apis.youtube.api import YoutubeApi
from local_cloud.emulators import guard


def make_app(
    passengers: Sequence[Passenger], client: Client, faults: Faults, posts: Path | None = None
) -> web.Application:
    """Compose the fake APIs. A new API is a module with `endpoints()`, and three lines here.

    :param posts: the file in which X keeps when its posts were made; None: it forgets them with the server.
    """
    everywhere = Crowd()
    controls = {name: Controls.make(faults, everywhere) for name in ("titanic", "youtube", "github", "spotify", "x")}
    titanic, google, music = (controls[name] for name in ("titanic", "youtube", "spotify"))
    youtube = YoutubeApi(client, google.tokens, google.counters)
    spotify = SpotifyApi(client, music.tokens, music.counters, make_music())
    x = XApi(client, posts)
    github = Github(controls["github"].counters)
    app = web.Application(middlewares=[guard.aiohttp_middleware()])
    app.cleanup_ctx.append(x.lifespan)
    app.add_routes(Admin(controls, everywhere).routes())
    for api in (youtube, github, spotify, x):
        app.add_routes(api.admin_routes())
    endpoints = {
        "titanic": [
            TokenEndpoint(client, titanic.tokens, titanic.counters).endpoint(),
            *TitanicApi(passengers, titanic.tokens).endpoints(),
        ],
        "youtube": youtube.endpoints(),
        "github": github.endpoints(),
        "spotify": spotify.endpoints(),
        "x": x.endpoints(),
    }
    for name, control in controls.items():
        middleware = Middleware(control.switch, control.counters)
        for endpoint in endpoints[name]:
            app.router.add_route(endpoint.method, endpoint.path, middleware.handler(endpoint))
    return app
