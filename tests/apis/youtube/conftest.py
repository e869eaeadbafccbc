"""YouTube as a plain client sees it: a fixed instant, a good token, and calls that carry it."""

from collections.abc import Callable
from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi, Reply

NOW = "2026-11-20T12:00:00-08:00"
"""The last day with figures is then 2026-11-18."""
Ask = Callable[..., Reply]


@pytest.fixture
def ask(api: FakeApi) -> Ask:
    """Call a path with a good token, at noon of 2026-11-20 in California."""
    api.youtube(now=NOW)
    token = api.google_token()
    api.reset()

    def call(path: str, **query: Any) -> Reply:
        return api.get(path, token, **{name: str(value) for name, value in query.items()})

    return call
