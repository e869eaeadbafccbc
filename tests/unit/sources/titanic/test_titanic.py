"""The stream of passengers: what it asks for, and what it takes for an answer."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.flow import lead, led
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.query import Query
from windrow.model.stream import Request
from windrow.sources.titanic.streams import Passengers

STREAM = Passengers()
BRAUND = "Braund, Mr. Owen Harris"
ANSWER = {
    "PassengerId": 1, "Survived": 0, "Pclass": 3, "Name": BRAUND, "Sex": "male", "Age": 22.0,
    "SibSp": 1, "Parch": 0, "Ticket": "A/5 21171", "Fare": 7.25, "Cabin": None, "Embarked": "S",
}  # fmt: skip
REQUIRED = ["PassengerId", "Survived", "Pclass", "Name", "Sex", "SibSp", "Parch"]
names = st.lists(st.text(min_size=1), min_size=1)


def planned(params: dict[str, object], *pages: object) -> list[str]:
    """The names that are planned, as the API gets them."""
    _, queries = lead(STREAM, Request(params), pages)
    return [dict(query.params)["name"] for query in queries]


# --- the list ----------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"names": None}, {"names": []}, {"connections": 4}])
def test_the_api_is_asked_for_its_list(params: dict[str, object]):
    asked, _ = lead(STREAM, Request(params), [{"users": ["a"]}])
    assert [query.path for query in asked] == ["/get_user_list"]


def test_a_run_that_names_its_passengers_makes_no_call_for_the_list():
    asked, _ = lead(STREAM, Request({"names": [BRAUND]}))
    assert asked == []


# --- the plan ----------------------------------------------------------------------------------


@given(names)
def test_every_listed_name_is_asked_for_exactly_as_it_is_listed(listed: list[str]):
    assert planned({}, {"users": listed}) == listed


@given(names)
def test_named_passengers_are_asked_for_as_they_are_named(named: list[str]):
    assert planned({"names": named}) == named


def test_a_name_is_one_call_with_a_key_of_its_own():
    _, (query, *others) = lead(STREAM, Request({"names": [BRAUND, BRAUND + " "]}))
    assert query == Query.of("/get_user_by_name", {"name": BRAUND})
    assert query.key == f"get_user_by_name?name={BRAUND}"
    assert [other.key for other in others] == [f"get_user_by_name?name={BRAUND} "]


def test_an_empty_list_is_an_empty_plan():
    assert planned({}, {"users": []}) == []


@pytest.mark.parametrize("bad", ["a", ["a", ""], ["a", None], [["a"]], {"a": "b"}, 5, True, ("a",)])
def test_names_that_cannot_be_meant_are_refused_before_any_call(bad: object):
    with pytest.raises(BadParameter, match=r"'names' must be a list|\{name\} of titanic_passengers must"):
        lead(STREAM, Request({"names": bad}))


def test_a_long_list_with_one_bad_name_gives_a_short_message():
    with pytest.raises(BadParameter) as refused:
        lead(STREAM, Request({"names": [f"name {number}" for number in range(10_000)] + [""]}))
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize("page", [None, [], ["a"], {}, {"users": None}, {"users": "a"}, {"names": []}])
def test_a_list_of_another_shape_is_not_guessed_at(page: object):
    with pytest.raises(Unreadable, match="a list of rows at 'users'"):
        lead(STREAM, Request(), [page])


@pytest.mark.parametrize("bad", ["", None, ["a"]])
def test_what_is_no_name_in_the_list_is_told_and_the_others_are_planned(bad: object):
    driver = led(STREAM, Request(), [{"users": ["a", bad, "b"]}])
    assert [dict(query.params)["name"] for query in driver.plan] == ["a", "b"]
    assert "1 elements of /get_user_list cannot be used: {name} of titanic_passengers must" in driver.left_out[0].what


# --- records -----------------------------------------------------------------------------------


def read(answer: object, name: str = BRAUND) -> dict[str, object]:
    [record] = STREAM.records(Query.of("/get_user_by_name", {"name": name}), answer)
    return record


def test_a_passenger_is_one_record():
    assert read(ANSWER) == {
        "passenger_id": 1, "survived": 0, "class": 3, "name": BRAUND, "sex": "male", "age": 22.0,
        "siblings_spouses": 1, "parents_children": 0, "ticket": "A/5 21171", "fare": 7.25, "cabin": None,
        "embarked": "S", "_extra": None,
    }  # fmt: skip
    assert STREAM.one_record_an_answer


@given(st.text(min_size=1))
def test_a_name_is_kept_to_the_letter(name: str):
    assert read(ANSWER | {"Name": name}, name)["name"] == name


@pytest.mark.parametrize("other", [BRAUND + " ", BRAUND.upper(), "Cumings, Mrs. John Bradley"])
def test_an_answer_about_somebody_else_is_refused(other: str):
    with pytest.raises(Unreadable, match="was requested"):
        read(ANSWER | {"Name": other})
    queries = [Query.of("/get_user_by_name", {"name": BRAUND})] * 2
    assert STREAM.one_row_each(queries, [ANSWER, ANSWER | {"Name": other}]) is None
    assert list(STREAM.one_row_each(queries, [ANSWER, ANSWER]) or ()) == [ANSWER, ANSWER]


@pytest.mark.parametrize("field", ANSWER)
def test_what_has_to_be_there_is_demanded(field: str):
    short = {name: value for name, value in ANSWER.items() if name != field}
    if field in REQUIRED:
        with pytest.raises(Unreadable, match=repr(field)):
            read(short)
    else:
        assert read(short) == read(ANSWER | {field: None})


def test_unknown_fields_are_kept():
    assert read(ANSWER | {"Boat": "11"})["_extra"] == '{"Boat":"11"}'


@pytest.mark.parametrize("answer", [None, [], [ANSWER], "x", {"error": "not_found"}])
def test_something_else_is_no_passenger(answer: object):
    with pytest.raises(Unreadable):
        read(answer)


def test_the_query_can_be_read_out_of_its_key():
    _, [query] = lead(STREAM, Request({"names": ['Kelly, Mr. "Jim" O\'Neil & Söhne + 1%']}))
    assert parse_qs(urlsplit(query.key).query) == {"name": ['Kelly, Mr. "Jim" O\'Neil & Söhne + 1%']}
