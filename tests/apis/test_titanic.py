"""The titanic API by its contract, as a plain client sees it."""

import json
from collections import Counter
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from local_cloud.apis.testing import FakeApi, running

COLUMNS = {
    "PassengerId": int,
    "Survived": int,
    "Pclass": int,
    "Name": str,
    "Sex": str,
    "Age": float | None,
    "SibSp": int,
    "Parch": int,
    "Ticket": str,
    "Fare": float | None,
    "Cabin": str | None,
    "Embarked": str | None,
}


def test_the_list_holds_891_names_each_twice(api: FakeApi, token: str) -> None:
    reply = api.get("/get_user_list", token)
    assert reply.status == 200
    assert reply.headers.get_content_type() == "application/json"
    users = reply.json()["users"]
    assert len(users) == 1782
    assert set(Counter(users).values()) == {2}
    assert users[:891] != users[891:], "the second mention of a name does not follow in the same order"


def test_two_servers_serve_the_same(api: FakeApi, token: str, names: list[str]) -> None:
    with running() as other:
        other_token = other.token()
        assert other.get("/get_user_list", other_token).body == api.get("/get_user_list", token).body
        for name in names[:20]:
            path = "/get_user_by_name"
            assert other.get(path, other_token, name=name).body == api.get(path, token, name=name).body


def test_every_listed_name_has_its_passenger(api: FakeApi, token: str, names: list[str]) -> None:
    connection = HTTPConnection(*api.address)
    ids = set()
    for name in names:
        connection.request(
            "GET", f"/get_user_by_name?{urlencode({'name': name})}", headers={"Authorization": f"Bearer {token}"}
        )
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, name
        passenger = json.loads(body)
        assert list(passenger) == list(COLUMNS)
        assert passenger["Name"] == name
        for column, kind in COLUMNS.items():
            assert isinstance(passenger[column], kind), (name, column)
        ids.add(passenger["PassengerId"])
    connection.close()
    assert ids == set(range(1, 892))


def test_a_name_is_matched_to_the_last_blank(api: FakeApi, token: str, names: list[str]) -> None:
    trailing = next(name for name in names if name.endswith(" "))
    assert api.get("/get_user_by_name", token, name=trailing).json()["Name"] == trailing
    assert api.get("/get_user_by_name", token, name=trailing.rstrip()).status == 404


def test_an_unknown_name_is_named(api: FakeApi, token: str) -> None:
    reply = api.get("/get_user_by_name", token, name='Nobody, Mr. "Ni" Ångström')
    assert reply.status == 404
    assert reply.json() == {
        "error": "not_found",
        "message": "no passenger is named 'Nobody, Mr. \"Ni\" Ångström'",
    }


def test_a_missing_name_is_a_bad_request(api: FakeApi, token: str) -> None:
    reply = api.get("/get_user_by_name", token)
    assert (reply.status, reply.json()["error"]) == (400, "bad_request")
    assert "name" in reply.json()["message"]


@pytest.mark.parametrize("path", ["/get_user_list", "/get_user_by_name"])
class TestWithoutAGoodToken:
    def test_a_request_without_token_gets_a_plain_challenge(self, api: FakeApi, path: str) -> None:
        reply = api.get(path)
        assert (reply.status, reply.json()["error"]) == (401, "invalid_token")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="windrow"'

    def test_another_scheme_is_no_token(self, api: FakeApi, path: str) -> None:
        reply = api.request("GET", path, headers={"Authorization": "Basic d2luZHJvdw=="})
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="windrow"'

    def test_an_unknown_token_is_said_to_be_unknown(self, api: FakeApi, path: str) -> None:
        reply = api.get(path, "made-up")
        assert (reply.status, reply.json()["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
        assert "unknown" in reply.headers["WWW-Authenticate"]
        assert "made-up" not in reply.body.decode()
