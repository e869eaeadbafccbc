"""Keys of queries: one key a call, the same key for the same call, and rows that survive a trip through JSON."""

import dataclasses
import json
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windrow.model.errors import BadParameter
from windrow.model.query import Query

params = st.dictionaries(st.text(), st.text(), max_size=5)
long_params = st.dictionaries(st.text(max_size=5), st.text(min_size=250, max_size=400), min_size=1, max_size=3)
paths = st.text(alphabet="abc/._-~", min_size=1)
pairs = st.lists(st.tuples(st.text(), st.text()), max_size=5).map(tuple)
queries = st.builds(
    Query, key=st.text(), path=st.text(), params=pairs, cost=st.integers(0, 9), headers=pairs, body=st.text()
)


def test_a_person_can_read_the_key():
    query = Query.of("/get_user_by_name", {"name": 'Duff Gordon, Sir. Cosmo Edmund ("Mr Morgan")'})
    assert query.key == 'get_user_by_name?name=Duff Gordon, Sir. Cosmo Edmund ("Mr Morgan")'


def test_without_params_the_key_is_the_path():
    assert Query.of("/get_user_list").key == "get_user_list"


@given(params)
def test_the_path_is_called_as_it_was_given_and_params_keep_their_order(params: dict[str, str]):
    query = Query.of("/a/b", params, cost=7)
    assert (query.path, query.params, query.cost) == ("/a/b", tuple(params.items()), 7)


@given(params.flatmap(lambda params: st.tuples(st.just(params), st.permutations(list(params.items())))))
def test_the_order_of_params_does_not_change_the_key(case: tuple[dict[str, str], list[tuple[str, str]]]):
    params, shuffled = case
    assert Query.of("/a", params).key == Query.of("/a", dict(shuffled)).key


@given(params | long_params, params | long_params)
def test_other_params_give_another_key(one: dict[str, str], other: dict[str, str]):
    assert (Query.of("/a", one).key == Query.of("/a", other).key) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "1", "b": "2"}, {"a": "1&b=2"}),
        ({"a=b": "c"}, {"a": "b=c"}),
        ({"a": ""}, {}),
        ({"a": "b+c"}, {"a": "b c"}),
        ({"a": "%20"}, {"a": " "}),
        ({"a": "%26"}, {"a": "&"}),
        ({"a": "%25"}, {"a": "%"}),
        ({"a": "x#y"}, {"a": "x"}),
        ({"a": "é"}, {"a": "e\u0301"}),
        ({"a": "b "}, {"a": "b"}),
        ({"a": "x" * 400}, {"a": "x" * 401}),
        ({"a": "x" * 400 + "y"}, {"a": "x" * 400 + "z"}),
    ],
)
def test_params_that_are_easily_confused_give_two_keys(one: dict[str, str], other: dict[str, str]):
    assert Query.of("/a", one).key != Query.of("/a", other).key


@given(paths, paths, params)
def test_other_paths_give_other_keys(one: str, other: str, params: dict[str, str]):
    same = one.strip("/") == other.strip("/")
    assert (Query.of(one, params).key == Query.of(other, params).key) == same


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=2))
def test_the_key_says_all_that_the_call_asks(params: dict[str, str]):
    asked = Query.of("/a", params).key.partition("?")[2]
    assert parse_qsl(asked, keep_blank_values=True, strict_parsing=bool(asked)) == sorted(params.items())


@given(long_params, paths | st.text(min_size=200, max_size=500))
def test_a_key_has_300_bytes_at_most(params: dict[str, str], path: str):
    assert len(Query.of(path, params).key.encode()) <= 300


def test_a_key_is_cut_between_characters():
    key = Query.of("/a", {"ships": "\N{SHIP}" * 100}).key
    assert key.startswith("a?ships=\N{SHIP}\N{SHIP}")
    assert len(key.encode()) <= 300
    assert set(key.partition("~")[0]) == set("a?ships=\N{SHIP}")


@given(st.dictionaries(st.text(), st.text(), min_size=1))
@example({"a\nb": "c\r\n\x00\x1b[31m"})
def test_a_key_holds_no_control_characters(params: dict[str, str]):
    assert not [sign for sign in Query.of("/a", params).key if ord(sign) < 32 or ord(sign) == 127]


@pytest.mark.parametrize("params", [{"a": "\ud800"}, {"\udfff": "a"}])
def test_half_a_character_is_refused(params: dict[str, str]):
    with pytest.raises(BadParameter, match="half of a surrogate pair"):
        Query.of("/a", params)


def test_a_long_key_keeps_its_beginning_and_never_changes():
    key = Query.of("/get_user_by_name", {"name": "x" * 300}).key
    # Staged answers are found by this very text: if it changes, old runs are asked again.
    assert key == "get_user_by_name?name=" + "x" * 245 + "~00e20b353cabffa7f7ab5198cbb0440b"


def test_a_key_of_exactly_300_characters_stays_whole():
    value = "x" * (300 - len("a?b="))
    assert Query.of("/a", {"b": value}).key == f"a?b={value}"
    assert "~" in Query.of("/a", {"b": value + "x"}).key


@given(queries)
def test_a_row_is_the_query_again_also_after_json(query: Query):
    assert Query.from_row(query.row) == query
    assert Query.from_row(orjson.loads(orjson.dumps(query.row))) == query
    assert Query.from_row(json.loads(json.dumps(query.row))) == query


@given(params | long_params, st.integers(0, 10_000))
def test_a_query_that_was_stored_is_not_another_one(params: dict[str, str], cost: int):
    query = Query.of("/a", params, cost=cost)
    assert hash(Query.from_row(orjson.loads(orjson.dumps(query.row)))) == hash(query)


def test_the_cost_is_no_part_of_the_key():
    assert Query.of("/a", cost=100).key == Query.of("/a").key


def test_a_post_is_known_by_what_its_body_asks():
    one = Query.of("/graphql", {"v": "2"}, body='{"query": "..."}', known_by={"ship": "a&b", "after": ""})
    assert (one.key, one.params) == ("graphql?after=&ship=a%26b", (("v", "2"),))


def test_headers_and_body_are_no_part_of_the_key():
    assert Query.of("/a", headers={"X": "1"}, body="{}").key == Query.of("/a").key


@given(pairs)
def test_a_next_page_asks_what_its_link_says(params: tuple[tuple[str, str], ...]):
    following = Query.of("/a", {"page": "1"}).following(f"/a/b?{urlencode(params)}")
    assert (following.path, following.params) == ("/a/b", params)


def test_a_next_page_is_the_same_call_whichever_way_it_was_found():
    first = Query.of("/a", {"page": "1"}, cost=3, headers={"X": "1"})
    assert first.following("/a?b=c%20d&page=2") == Query.of("/a", {"b": "c d", "page": "2"}, cost=3, headers={"X": "1"})


def test_a_next_page_may_name_a_parameter_twice():
    keys = {Query.of("/a").following(link).key for link in ("/a?b=1&b=2", "/a?b=2", "/a?b=1")}
    assert keys == {"a?b=1&b=2", "a?b=2", "a?b=1"}


def test_a_query_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Query.of("/a").key = "b"  # type: ignore[misc]
