"""JSON is read without changing a value."""

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windrow.model import exact_json
from windrow.model.errors import Unreadable

NUMBERS = (
    st.integers(-(10**40), 10**40).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20).map(lambda n: f"{n:f}")
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)


@given(st.lists(NUMBERS, min_size=1), st.sampled_from([",", ", ", "\n,\t", " ,\r\n"]))
@example(["1.00000000000000000001", "18446744073709551616", "0.1", "-0.30000000000000004", "1e22"], ",")
def test_every_number_keeps_its_value(numbers: list[str], separator: str):
    body = f'{{"id": "12345678901234567890", "a":[{separator.join(numbers)}]}}'
    read = exact_json.loads(body.encode())
    for value in (
        read,
        exact_json.reread(["1", body, "[]"])[1],
        json.loads(exact_json.dumps(read), parse_float=Decimal),
    ):
        for written, number in zip(numbers, value["a"], strict=True):
            exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
            assert exact == Decimal(written)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
@example({'"": ': '":', "a": {'\\":': '\\\\":'}})
def test_no_valid_object_counts_as_one_with_a_key_twice(value: object):
    for text in (json.dumps(value), json.dumps(value, separators=(" , ", " : "), indent=1)):
        assert exact_json.loads(text.encode()) == value


@pytest.mark.parametrize(
    "body", ['{"id":1,"id":2}', '{"rows":[{"a":1},{"b":1,"b":1}]}', '{"id" : 1, "id" : 2}', '{"id":1,"\\u0069d":2}']
)
def test_a_key_that_is_there_twice_is_reported(body: str):
    with pytest.raises(Unreadable, match=r"has the key '(id|b)' twice"):
        exact_json.loads(body.encode())


@pytest.mark.parametrize(
    "body", ["", "{", "NaN", "<html>", "[1e400]", "[" * 2000, "9" * 5000, f"[0.{'1' * 5000}]", "\xff"]
)
def test_what_cannot_be_read_is_one_short_reason(body: str):
    with pytest.raises(Unreadable) as refused:
        exact_json.loads(body.encode("latin-1"))
    assert len(refused.value.reason) < 300
