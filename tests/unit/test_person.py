"""A person leaves the answers of real APIs; what is about others stays, and stays readable."""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from windrow.declare.stream import Declared
from windrow.model import registry
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Kind
from windrow.model.errors import BadParameter
from windrow.model.formats import Csv
from windrow.model.person import Person, erase_from
from windrow.model.query import Query
from windrow.sources.x import streams as x

MOMENT = datetime(2026, 11, 20, tzinfo=UTC)
ADA = {"user_id": {"17"}, "login": {"ada"}}
PAGE = Query.of("/repos/o/n/stargazers", {"page": "1"}, known_by={"id": "17", "repository": "o/n", "page": "1"})
FORKS = Query.of("/repos/o/n/forks", {"page": "1"}, known_by={"id": "5", "repository": "o/n", "page": "1"})
FIRST = {"created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z", "type": "User"}
POST_ID = x.post_id_at(MOMENT)
POST = {"id": f"{POST_ID}", "text": "hi @ada", "author_id": "8", "created_at": "2026-11-20T00:00:00.000Z"}
LARGE = 123456789012345678901234567890


def star(number: int, login: str, **more: Any) -> dict[str, Any]:
    return {"starred_at": "2020-01-01T00:00:00Z", "user": {"id": number, "login": login}, **more}


def passenger(name: str, number: int) -> dict[str, Any]:
    numbers = dict.fromkeys(("Survived", "Pclass", "SibSp", "Parch"), 1)
    return {"PassengerId": number, "Name": name, "Sex": "male", "Age": None, "Fare": 7.25, **numbers}


class Cards(Declared):
    """Cards as CSV."""

    dataset = "town_cards"
    get = "/cards"
    format = Csv()
    person: ClassVar = {"number": ("number",)}
    columns = (Column("number", "number", Kind.INTEGER, "Number.", required=True),)


CASES = {
    "of a page, only their element": (
        "github_memberships", ADA, PAGE,
        [star(1, "bob", extra=LARGE), star(17, "ada"), star(2, "eve")], [star(1, "bob", extra=LARGE), star(2, "eve")],
    ),
    "all of the element, with what is named after them": (
        "github_memberships", ADA, FORKS,
        [{"id": 5, "full_name": "ada/n", "owner": {"id": 17, "login": "ada"}, **FIRST}], [],
    ),
    "an answer about them": ("github_users", ADA, Query.of("/user/17"), {"id": 17, "login": "ada", **FIRST}, None),
    "an answer that says there is no such person": ("github_users", ADA, Query.of("/user/17"), 404, None),
    "an answer that cannot be read": ("github_users", ADA, Query.of("/user/18"), {"login": "ada"}, None),
    "another person": ("github_users", ADA, Query.of("/user/18"), {"id": 18, "login": "ada2", **FIRST}, ...),
    "another number of the same value": (
        "github_users", ADA, Query.of("/user/18"), {"id": 18, "login": "eve", "followers": 17, **FIRST}, ...,
    ),
    "a missing answer about others": ("github_users", ADA, Query.of("/user/18"), 404, ...),
    "by the value of a parameter": (
        "titanic_passengers", {"name": {"Ada, Miss. A/B"}},
        Query.of("/get_user_by_name", {"name": "Ada, Miss. A/B"}), passenger("Ada, Miss. A/B", 4), None,
    ),
    "their post, their account and a mention of them; not the post of others": (
        "x_posts", {"author_id": {"42"}, "username": {"ada"}}, Query.of("/2/tweets/search/recent", {"query": "tesla"}),
        {"data": [{**POST, "entities": {"mentions": [{"username": "ada", "id": "42"}]}},
                  {**POST, "id": f"{POST_ID + 1}", "author_id": "42"}],
         "meta": {},
         "includes": {"users": [{"id": "42", "username": "ada"}, {"id": "8", "username": "bob"}]}},
        {"data": [{**POST, "entities": {"mentions": []}}], "meta": {},
         "includes": {"users": [{"id": "8", "username": "bob"}]}},
    ),
    "the whole of another format": ("cards", {"number": {"7"}}, Query.of("/cards"), "number\n7\n8\n", None),
    "another format without them": ("cards", {"number": {"9"}}, Query.of("/cards"), "number\n7\n8\n", ...),
}  # fmt: skip


@pytest.mark.quick
@pytest.mark.parametrize("case", CASES)
def test_what_is_left_of_an_answer(case: str):
    dataset, given, query, said, left = CASES[case]
    stream = Cards() if dataset == "cards" else registry.stream(dataset)
    person = Person.of([stream], given)
    outcome, status = (Outcome.MISSING, 404) if said == 404 else (Outcome.ANSWERED, 200)
    body = said if isinstance(said, str) else "{}" if said == 404 else json.dumps(said)
    answer = Answer(query, outcome, status, body, MOMENT)

    found, _ = erase_from(answer, stream, person)

    if left is ...:
        assert found is answer
    elif left is None:
        assert found is None
    else:
        assert found is not None
        assert json.loads(found.body) == left
        again, theirs = erase_from(found, stream, person)
        assert (again, theirs) == (found, 0)


@pytest.mark.quick
def test_each_source_names_columns_or_attributes_that_it_has():
    for dataset in registry.streams():
        stream = registry.stream(dataset)
        known = {column.name for column in stream.contract.columns}
        known |= {name for names in stream.person_items.values() for name in names}
        assert {*stream.person} <= known, dataset


@pytest.mark.quick
def test_a_declaration_is_checked():
    with pytest.raises(ValueError, match="person names 'nobody', which is no column"):
        type("Wrong", (Cards,), {"dataset": "town_wrong", "person": {"nobody": ()}})


@pytest.mark.quick
@pytest.mark.parametrize(("given", "said"), [({"shoe": {"44"}}, "No column 'shoe'"), ({"login": {" "}}, "is empty")])
def test_a_person_is_named_by_what_identifies_them(given: dict[str, set[str]], said: str):
    with pytest.raises(BadParameter, match=said):
        Person.of([registry.stream("github_users")], given)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "is_found"),
    [('{"login": "ada"}', True), ("<p>ada</p>", True), ("<p>adam 17</p>", False), ('[{"id": 17}]', True), ("", False)],
)
def test_a_text_that_no_reader_understands(text: str, is_found: bool):
    assert Person.of([registry.stream("github_users")], ADA).is_in_text(text) is is_found
