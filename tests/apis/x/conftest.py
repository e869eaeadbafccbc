import pytest

from local_cloud.apis.testing import FakeApi
from tests.apis.x.bench import X


@pytest.fixture
def x(api: FakeApi) -> X:
    """The X API, making no posts but those that a test asks for."""
    made = X(api)
    made.admin("DELETE")
    made.scene(search_lag_s=0, duplicate_share=0)
    return made
