"""The Spotify part of the fake APIs; each test gets it with all switches off."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi, Reply

API = "/spotify/v1"
Ask = Callable[..., Reply]


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def switch(api: FakeApi, **changes: Any) -> Reply:
    return api.request("PUT", "/_admin/spotify", json.dumps(changes))


@pytest.fixture
def spotify(api: FakeApi) -> FakeApi:
    api.request("DELETE", "/_admin/spotify")
    return api


@pytest.fixture
def ask(spotify: FakeApi) -> Ask:
    """Call the API with a token."""
    client = spotify.client
    headers = basic(client.client_id, client.client_secret)
    token = spotify.post("/spotify/api/token", {"grant_type": "client_credentials"}, headers).json()["access_token"]

    def get(path: str, **query: str) -> Reply:
        return spotify.get(f"{API}{path}", token, **query)

    return get
