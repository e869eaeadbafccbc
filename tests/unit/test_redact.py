"""No secret leaves the process, however it is spelled."""

import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windrow.model import redact
from windrow.model.errors import ApiUnreachable, Unreadable
from windrow.model.redact import STARS, blot, blot_sent, know

SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=8, max_size=60)
SPELLINGS = {
    "raw": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON, as PHP writes it": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON, all escaped": lambda text: "".join(f"\\u{ord(sign):04x}" if ord(sign) < 65536 else sign for sign in text),
    "JSON, all escaped, in capitals": lambda text: "".join(
        f"\\u{ord(sign):04X}" if ord(sign) < 65536 else sign for sign in text
    ),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent, small": lambda text: "".join(
        sign if sign.isascii() and sign.isalnum() else urllib.parse.quote(sign, safe="").lower() for sign in text
    ),
    "percent, all": lambda text: "".join(f"%{octet:02X}" for octet in text.encode()),
    "form": urllib.parse.quote_plus,
    "HTML": html.escape,
    "HTML, all": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "HTML, all in hex": lambda text: "".join(f"&#x{ord(sign):X};" for sign in text),
    **{
        f"base64, {before} bytes before": lambda text, before=before: base64.b64encode(
            b"\0" * before + text.encode()
        ).decode()
        for before in range(3)
    },
    **{
        f"base64 of URLs, {before} bytes before": lambda text, before=before: base64.urlsafe_b64encode(
            b"\0" * before + text.encode() + b"?"
        ).decode()
        for before in range(3)
    },
    "beginning": lambda text: text[:12],
    "end": lambda text: text[-12:],
}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", type(redact._known)())


@settings(max_examples=15)
@given(secret=SECRETS)
def test_a_secret_is_blotted_out_in_every_spelling(secret: str):
    """All spellings of one secret: to make the pattern that finds them takes most of the time."""
    redact._known.clear()
    know(secret)
    for name, spelled in SPELLINGS.items():
        written = spelled(secret)
        found = blot(f"<<{written}>>")
        assert written not in found, name
        assert STARS in found, name
        assert found.startswith("<<"), name
        assert found.endswith(">>"), name


@given(st.text(max_size=200))
def test_what_is_no_secret_stays(text: str):
    redact._known.clear()
    know("windrow-mark-0123456789")
    assert blot(text) == text


def test_a_word_that_is_too_short_to_be_told_from_others_is_no_secret():
    know("ab", "", None)
    assert blot("ab abc") == "ab abc"


def test_a_private_key_is_known_by_its_lines():
    know("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nZZZZ1234567890\n-----END PRIVATE KEY-----\n")
    assert blot("... MIIEvQIBADANBgkqhkiG9w0BAQ\\nZZZZ1234567890\\n-----END") == "... ***\\n***\\n-----END"


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redact, "MOST", 3)
    know(*(f"secret-number-{number}" for number in range(5)))
    assert list(redact._known) == [f"secret-number-{number}" for number in (2, 3, 4)]


def test_errors_and_their_reasons_tell_none():
    know("windrow-mark-0123456789")
    error = ApiUnreachable("at http://x/?key=windrow-mark-0123456789", advice="Look at windrow%2Dmark%2D0123456789.")
    assert str(error) == "at http://x/?key=*** | What to do: Look at ***."
    assert error.args == ("at http://x/?key=***",)
    assert Unreadable("windrow-mark-0123456789 is no number").reason == "*** is no number"


def test_only_what_was_sent_is_taken_out_of_an_answer():
    know("password-of-someone")
    assert blot_sent("password-of-someone Bearer tok3n-0123456789", {"Bearer tok3n-0123456789"}) == (
        "password-of-someone Bearer ***"
    )
    assert blot_sent("a short one", {"Basic short"}) == "a short one"


def test_no_pattern_is_made_for_a_text_in_which_nothing_hints_at_a_secret():
    secret, text = redact.Secret("windrow-mark-0123456789"), '{"url": "https://x/a%20b", "name": "\\u2028 & co"}'
    assert secret.blot(text) == text
    assert secret._pattern is None
