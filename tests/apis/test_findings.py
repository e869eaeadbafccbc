"""The counts of the fake APIs, as `chaos.many` judges them: one call that is refused for a limit is a problem."""

from collections.abc import Callable, Iterator

import pytest

from chaos import findings
from chaos.findings import Finding
from local_cloud.apis.github.demo_tokens import POOL
from local_cloud.apis.testing import FakeApi


@pytest.fixture
def apis(api: FakeApi) -> Iterator[FakeApi]:
    api.reset_github()
    yield api
    api.heal()
    api.reset_github()
    api.reset_youtube()


def passengers(api: FakeApi) -> Finding:
    api.get("/get_user_by_name", api.token(), name="nobody")
    return findings.of_passengers(2, api.counters(api="titanic")["totals"])


def github(api: FakeApi) -> Finding:
    headers = {"User-Agent": "tests", "Authorization": f"Bearer {POOL[0]}"}
    api.request("GET", "/github/repos/tiny/one", headers=headers)
    return findings.of_github(2, api.github())


def youtube(api: FakeApi) -> Finding:
    api.get("/youtube/v3/channels", api.google_token(), part="id", mine="true")
    return findings.of_youtube(api.youtube()["units"])


@pytest.mark.parametrize("call", [passengers, github, youtube], ids=lambda call: call.__name__)
def test_a_call_that_is_refused_is_a_problem(apis: FakeApi, call: Callable[[FakeApi], Finding]) -> None:
    apis.faults(api="titanic", requests_per_second=1)
    apis.github(hour_s=60, limit=2)
    apis.youtube(data_units=2)
    found = [call(apis) for _ in range(9)]
    assert found[0].is_good, found[0]
    assert "0 refused" in found[0].result
    assert not found[-1].is_good, found[-1]
    assert "0 refused" not in found[-1].result


def test_no_calls_are_no_proof_of_a_limit(apis: FakeApi) -> None:
    assert str(findings.of_github(200, apis.github())).startswith("PROBLEM GitHub")
