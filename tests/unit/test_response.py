"""Responses: Retry-After in all its forms, and texts for messages that stay short and keep secrets."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windrow.model.response import Response, retry_after_s

SECRET = "s3cr3t-t0k3n"


# --- Retry-After -------------------------------------------------------------------------------


def test_no_header_means_no_wish():
    assert retry_after_s(None) is None


@given(st.integers(0, 10**6))
def test_seconds(seconds: int):
    assert retry_after_s(str(seconds)) == seconds


def test_fractions_of_a_second():
    assert retry_after_s("0.05") == 0.05


@given(st.integers(2, 10**6))
def test_a_date_to_come(seconds: int):
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    waits = retry_after_s(format_datetime(moment, usegmt=True))
    assert waits is not None
    assert seconds - 2 <= waits <= seconds


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_the_three_forms_of_a_date(form: str):
    moment = datetime.now(UTC) + timedelta(hours=30)
    assert retry_after_s(moment.strftime(form)) == pytest.approx(30 * 3_600, abs=3)


def test_a_date_in_another_zone():
    moment = datetime.now(UTC) + timedelta(seconds=100)
    there = moment.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    assert retry_after_s(format_datetime(there)) == pytest.approx(100, abs=2)


@pytest.mark.parametrize("written", ["Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_date_gone_by_means_now(written: str):
    assert retry_after_s(written) == 0


@pytest.mark.parametrize("written", ["", " ", "soon", "5, 10", "1h", "{}", "Sun, 99 Nov 2094 08:49:37 GMT", "inf"])
def test_what_is_neither_counts_as_absent(written: str):
    assert retry_after_s(written) is None


@given(st.text() | st.floats().map(str) | st.integers().map(str))
@example("inf")
@example("Infinity")
@example("-inf")
@example("nan")
@example("-5")
@example("1e20")
@example("1e308")
@example("99999999999999")
@example("Mon, 01 Jan 2024 00:00:00 +99999999999999999999")
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_whatever_the_header_holds_it_gives_a_moment_or_nothing(written: str):
    waits = retry_after_s(written)
    if waits is not None:
        assert math.isfinite(waits)
        assert waits >= 0
        assert datetime.now(UTC) + timedelta(seconds=waits), "the moment to come back can be told"


# --- texts -------------------------------------------------------------------------------------


@given(st.binary(max_size=2_000))
@example("🚢".encode() * 300)
@example(b"a" + "🚢".encode() * 300)
@example(b"a\r\nb\x0b\x0c\x1c\x85\xe2\x80\xa8c")
def test_an_excerpt_is_one_line_of_bounded_length(body: bytes):
    excerpt = Response(500, body).excerpt
    assert len(excerpt) <= 200 + len(" ...")
    assert len(excerpt.splitlines()) <= 1
    assert "\n" not in excerpt


@given(st.text(max_size=150))
def test_a_short_body_is_shown_whole(text: str):
    assert Response(400, text.encode()).excerpt == " ".join(text.split())


def test_a_long_body_is_cut_and_says_so():
    assert Response(500, b"x" * 201).excerpt == "x" * 200 + " ..."
    assert Response(500, b"x" * 200).excerpt == "x" * 200


@pytest.mark.parametrize(
    ("response", "summary"),
    [
        (Response(trouble="TimeoutError"), "TimeoutError"),
        (Response(503, b"busy\n"), "HTTP 503 busy"),
        (Response(204), "HTTP 204"),
    ],
)
def test_a_summary_is_one_line(response: Response, summary: str):
    assert response.summary == summary


@pytest.mark.parametrize(
    "response",
    [
        Response(200, signature={"Authorization": f"Bearer {SECRET}"}),
        Response(200, f'{{"access_token":"{SECRET}"}}'.encode()),  # what a token endpoint answers
    ],
)
def test_a_response_is_shown_without_signature_and_body(response: Response):
    assert SECRET not in repr(response)
    assert SECRET not in str(response)
    assert "200" in repr(response)


@pytest.mark.parametrize("signature", [{"Authorization": f"Bearer {SECRET}"}, {"X-Api-Key": SECRET}])
def test_an_api_that_quotes_the_signature_does_not_get_it_into_a_message(signature: dict[str, str]):
    response = Response(403, f'{{"error": "may not", "sent": "{SECRET}"}}'.encode(), signature=signature)
    assert SECRET not in response.excerpt
    assert SECRET not in response.summary
    assert "may not" in response.summary
