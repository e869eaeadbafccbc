"""Bodies that a person asked to see: no secret in them, whatever they are."""

import pytest

from windrow.model import body as model_body
from windrow.model import redact
from windrow.model.body import EXCERPT, OVERLAP, Body, Place, masked
from windrow.model.plan import Run
from windrow.model.redact import STARS, blot, know

SECRET = "windrow-mark-0123456789-abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def _one_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", type(redact._known)())
    know(SECRET)


def body(data: bytes) -> Body:
    return Body(data.decode("utf-8", "replace")[: EXCERPT + OVERLAP], data, "", 200, "", True)


@pytest.mark.parametrize("spelled", [SECRET, "".join(f"%{one:02X}" for one in SECRET.encode())], ids=["raw", "percent"])
def test_a_secret_is_masked_wherever_a_piece_ends(spelled: str) -> None:
    for before in range(0, 2_000, 37):
        text = "x" * before + spelled + "y" * 2_500
        pieces = [*masked(text, step=1_000)]
        assert "".join(pieces) == blot(text) == "x" * before + STARS + "y" * 2_500
        assert len(pieces) > 2


@pytest.mark.parametrize("tries", [1, 20])
def test_a_text_of_nothing_but_secrets_comes_to_an_end_and_shows_none(
    monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    monkeypatch.setattr(model_body, "_TRIES", tries)
    shown = "".join(masked(SECRET * 1_000, step=1_010))
    assert set(shown) == {"*"}


def test_an_excerpt_is_text_without_secrets_and_without_what_a_terminal_obeys() -> None:
    text = "a" * (EXCERPT - 20) + SECRET + "b" * 90_000
    assert body(text.encode()).excerpt() == "a" * (EXCERPT - 20) + STARS + "b" * 17
    assert body(text.encode()).is_cut
    assert body("é\n\x1b[2J\u202e<script>".encode()).excerpt() == "é\n\ufffd[2J\ufffd<script>"
    assert not body(b"").is_cut


def test_a_binary_body_is_shown_as_hexadecimal_numbers_and_its_download_is_its_bytes() -> None:
    data = b"\x89PNG\0" + SECRET.encode() + bytes(range(128, 256)) * 16
    shown = body(data)

    assert shown.is_binary
    assert shown.is_cut
    assert shown.excerpt().startswith("89 50 4e 47 00 2a 2a 2a 80 81 82 83 84 85 86 87\n")
    assert b"".join(shown.pieces()) == data.replace(SECRET.encode(), STARS.encode())


def test_places_that_differ_have_other_digests() -> None:
    run = Run("shop_orders", "1")
    places = [Place(run, "a|b", "answer"), Place(run, "a", "answer"), Place(Run("shop_orders", "1|a"), "b", "answer")]
    assert len({one.subject for one in [*places, Place(run, "a", "quarantine")]}) == 4
