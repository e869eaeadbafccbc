"""What may leave the process: texts in which no secret is left, however it is spelled.

Whoever holds a secret tells it to `know`: token flows, and the hooks that read connections. Whatever leaves is passed
through `blot`: the messages of all errors, what an API said, alerts. Answers and lines of a stream lose nothing but the
credentials that were sent for them, as an API may echo its headers: `blot_sent` and `blot_body` take these out when
they arrive, before anybody reads, cuts or stores a part of them.
"""

import base64
import html.entities
import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable
from functools import cache

STARS = "***"
SHORTEST = 6
"""Characters of a secret that can be told from a word."""
PART = 12
"""So many characters of the beginning, or of the end, tell too much already."""
MOST = 2_000
"""Secrets that are remembered; the oldest are forgotten, as are tokens that have died long ago."""
_RUN = re.compile(r"[A-Za-z0-9]+")
_DISGUISED = re.compile(r"%(?:25)*(?:3\d|[46][1-9a-fA-F]|[57][0-9aA])|\\u00[3-7]|&#")
_NAMED: dict[str, list[str]] = {}
for _name, _sign in html.entities.html5.items():
    _NAMED.setdefault(_sign, []).append(_name)


class Secret:
    """One secret, and how to find it. The patterns are made when they are first needed: there are many spellings."""

    def __init__(self, text: str) -> None:
        self._forms = _forms(text)
        self._cores = [max(_RUN.findall(form) or [""], key=len) for form in self._forms]
        self._pattern: re.Pattern[str] | None = None

    def blot(self, text: str) -> str:
        """Return the text without it."""
        for core in self._cores:
            if core in text:
                break
        else:
            if not _is_disguised(text):
                return text  # as of most texts: letters and digits look the same in all other spellings
        if self._pattern is None:
            self._pattern = re.compile("|".join("".join(map(_spellings, form)) for form in self._forms))
        return self._pattern.sub(STARS, text)


_known: OrderedDict[str, Secret] = OrderedDict()


def know(*texts: str | None) -> None:
    """Remember secrets, for as long as this process runs. One that is too short to be told from a word is left out."""
    for text in texts:
        for line in (text or "").splitlines():  # a private key has many
            if len(line) >= SHORTEST and not line.startswith("-----"):
                _known.pop(line, None)
                _known[line] = Secret(line)
    while len(_known) > MOST:
        _known.popitem(last=False)


def blot(text: str) -> str:
    """Return a text without the secrets that are known."""
    for secret in list(_known.values()):
        text = secret.blot(text)
    return text


def blot_sent(text: str, headers: Iterable[str]) -> str:
    """Return what an API answered without the credentials in the headers that signed the call."""
    for header in headers:
        for word in header.split()[-1:]:  # "Bearer TOKEN"
            text = (_known.get(word) or Secret(word)).blot(text) if len(word) >= SHORTEST else text
    return text


def blot_body(body: bytes, headers: Iterable[str]) -> bytes:
    """Do the same with bytes; those that are no UTF-8 stay as they are."""
    text = body.decode("utf-8", "surrogateescape")
    left = blot_sent(text, headers)
    return body if left == text else left.encode("utf-8", "surrogateescape")


def _forms(text: str) -> list[str]:
    """Return the texts to look for, the longest first: all of it, its two ends, and its base64 wherever that begins."""
    parts = [text[:PART], text[-PART:]] if len(text) > PART else []
    coded = []
    for before in range(3):
        code = base64.b64encode(b"\0" * before + text.encode("utf-8", "surrogatepass")).decode().rstrip("=")
        first, last = -(-before * 8 // 6), (before + len(text.encode("utf-8", "surrogatepass"))) * 8 // 6
        piece = code[first:last]  # what does not depend on what stands around it
        coded += [piece, piece.replace("+", "-").replace("/", "_")] if len(piece) >= SHORTEST else []
    return list(dict.fromkeys([text, *coded, *parts]))


def _is_disguised(text: str) -> bool:
    """Return whether a letter or a digit is escaped, though nothing asks for it. Most texts have no escapes at all."""
    return ("%" in text or "\\u00" in text or "&#" in text) and _DISGUISED.search(text) is not None


@cache
def _spellings(sign: str) -> str:
    """Return a pattern of how a character is written in JSON, in URLs and forms, in HTML, and plainly."""
    number = ord(sign)
    octets = sign.encode("utf-8", "surrogatepass")
    utf16 = sign.encode("utf-16-be", "surrogatepass")
    halves = [utf16[:2], utf16[2:]] if len(utf16) > 2 else [utf16]
    ways = [
        re.escape(sign),
        "".join(rf"\\+u(?i:{half.hex()})" for half in halves),
        rf"\\+{re.escape(sign)}" if sign in '/"\\' else "",
        "".join(f"%(?:25)*(?i:{octet:02x})" for octet in octets),
        r"\+" if sign == " " else "",
        rf"&#0*{number};?",
        rf"&#[xX]0*(?i:{number:x});?",
        *(f"&{re.escape(name)}" for name in _NAMED.get(sign, [])),
    ]
    return f"(?:{'|'.join(sorted(filter(None, ways), key=len, reverse=True))})"


def without(fields: Collection[str], body: bytes) -> bytes:
    """Return JSON without these fields, wherever they are. A body that has none of them stays as it was written.

    In a body that is no JSON, being cut or garbled, what looks like one of them goes, with its value.
    """
    if not any(f'"{name}"'.encode() in body for name in fields):
        return body
    try:
        found = _pruned(json.loads(body), fields)  # the standard library keeps integers of any length
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        named = "|".join(map(re.escape, fields))
        value = r'"(?:[^"\\]|\\.)*"?|\{[^}]*\}?|\[[^]]*\]?|[^,}\]]*'
        return re.sub(rf'"(?:{named})"\s*:\s*(?:{value}),?'.encode(), b"", body)


def _pruned(value: object, fields: Collection[str]) -> object:
    if isinstance(value, dict):
        return {name: _pruned(each, fields) for name, each in value.items() if name not in fields}
    return [_pruned(each, fields) for each in value] if isinstance(value, list) else value
