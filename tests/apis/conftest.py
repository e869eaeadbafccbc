"""One server for all tests of the fake APIs; each test gets it healthy, with its counters at zero."""

from collections.abc import Iterator

import pytest

from local_cloud.apis.testing import FakeApi, running


@pytest.fixture(scope="session")
def server() -> Iterator[FakeApi]:
    with running() as api:
        yield api


@pytest.fixture
def api(server: FakeApi) -> FakeApi:
    server.heal()
    server.reset_youtube()
    server.reset()
    return server


@pytest.fixture
def token(api: FakeApi) -> str:
    token = api.token()
    api.reset()
    return token


@pytest.fixture
def names(api: FakeApi, token: str) -> list[str]:
    """Every name once, in the order of the list."""
    listed = api.get("/get_user_list", token).json()["users"]
    api.reset()
    return list(dict.fromkeys(listed))
