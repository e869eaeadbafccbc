"""What tests of the fake APIs start from: a token, and the names that it can ask for."""

import pytest

from local_cloud.apis.testing import FakeApi


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
