"""Bodies of answers, for a person who asked to see one: where one is, its beginning, and all of it without secrets."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from windrow.model.plan import Run
from windrow.model.redact import STARS, blot

QUARANTINE, ANSWER = "quarantine", "answer"
"""Where a body is: in the quarantine, or with an answer that settled its query."""
EXCERPT, OVERLAP = 20_000, 32_768
"""Characters of a body on a page; characters of one spelling of a secret at most."""
_STEP, _SHIFT, _TRIES = 131_072, 997, 20
_HEX = 1_024
"""Bytes of a binary body on a page."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body is. ``of`` is `QUARANTINE` or `ANSWER`."""

    run: Run
    key: str
    of: str

    @property
    def subject(self) -> str:
        """A digest of it, by which its events are found, whatever characters the key has."""
        return hashlib.sha256(orjson.dumps([self.run.dataset, self.run.run_id, self.key, self.of])).hexdigest()

    def __str__(self) -> str:
        return f"key {self.key!r} of run {self.run.run_id!r} ({self.of})"


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer: its bytes, and the beginning of its text, `EXCERPT` + `OVERLAP` characters."""

    text: str
    data: bytes
    content_type: str
    status: int
    fetched_at: str
    is_whole: bool
    """Whether ``data`` is all of it; otherwise its first 15 MB."""

    @property
    def is_binary(self) -> bool:
        """Whether it is no text."""
        return b"\0" in self.data[:EXCERPT]

    @property
    def is_cut(self) -> bool:
        """Whether the excerpt is a part of it."""
        return len(self.data) > _HEX if self.is_binary else len(self.text) > EXCERPT

    def excerpt(self) -> str:
        """Return the beginning of it without secrets: as text, or the bytes of a binary body as hexadecimal numbers."""
        if not self.is_binary:
            text = blot(self.text)[:EXCERPT]
            return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
        octets = _octets(blot(_text(self.data[: _HEX + OVERLAP])))[:_HEX]
        return "\n".join(octets[at : at + 16].hex(" ") for at in range(0, len(octets), 16))

    def pieces(self) -> Iterator[bytes]:
        """Yield all of it without secrets, some 100 kB at a time."""
        yield from map(_octets, masked(_text(self.data)))


def masked(text: str, *, step: int = _STEP) -> Iterator[str]:
    """Yield a text without the secrets that are known, piece by piece.

    Other threads can work between the pieces: a text of 15 MB takes seconds. No piece ends within a secret. A piece for
    which no such end is found is masked as a whole, and so is the one after it, which begins within a secret.
    """
    at, is_within = 0, False
    while at < len(text):
        for end in range(at + step, at + step + _SHIFT * _TRIES, _SHIFT):
            piece, following = blot(text[at : end + OVERLAP]), blot(text[end : end + OVERLAP])
            if piece.endswith(following):
                yield STARS if is_within else piece[: len(piece) - len(following)]
                is_within = False
                break
        else:
            yield STARS
            is_within = True
        at = end


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
