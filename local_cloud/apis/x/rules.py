"""Rules of the filtered stream, and queries of the search: one small language.

Known are words, #tags, `lang:xx`, `is:retweet`, each also with a `-` before it, all of which must hold, and
`OR` between such groups. What is not known is refused, never taken for a word.
"""

import itertools
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from local_cloud.apis.x.posts import Post

LONGEST_RULE = 1024
MOST_RULES = 1000
_WORD = re.compile(r"[\w@']+")

Test = Callable[[Post], bool]


class BadQuery(ValueError):
    """A rule or query that cannot be meant."""


def compile_query(value: str) -> Test:
    """Return what says whether a post matches. Raises BadQuery."""
    groups = [_group(part) for part in re.split(r"\s+OR\s+", value.strip())]
    return lambda post: any(all(test(post) for test in group) for group in groups)


def _group(text: str) -> list[Test]:
    terms = text.split()
    if not terms:
        raise BadQuery("a query must hold a word")
    if all(term.startswith("-") or ":" in term for term in terms):
        raise BadQuery(f"{text!r} has only conditions, and no word to search for")
    return [_term(term) for term in terms]


def _term(term: str) -> Test:
    if term.startswith("-"):
        inner = _term(term[1:])
        return lambda post: not inner(post)
    if term == "is:retweet":
        return lambda post: post.repost_of is not None
    if term.startswith("lang:"):
        return lambda post: post.lang == term[5:]
    if term.startswith("#"):
        return lambda post: term[1:].lower() in {tag.lower() for tag in post.hashtags}
    if _WORD.fullmatch(term):
        found = re.compile(rf"(?<!\w){re.escape(term)}", re.IGNORECASE)
        return lambda post: bool(found.search(post.text))
    raise BadQuery(f"{term!r} is not known to this stand-in")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the stream. It matches from ``since`` (monotonic seconds) on."""

    id: str
    value: str
    tag: str
    test: Test
    since: float

    def as_json(self) -> dict[str, str]:
        """Return the rule as the API shows it."""
        return {"id": self.id, "value": self.value} | ({"tag": self.tag} if self.tag else {})


class Rules:
    """The rules of the one stream."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._ids = itertools.count(1_800_000_000_000_000_001)

    def __len__(self) -> int:
        return len(self._rules)

    def all(self) -> list[Rule]:
        """Return the rules, the oldest first."""
        return list(self._rules.values())

    def add(self, wanted: Iterable[dict[str, Any]], delay_s: float, *, dry_run: bool) -> dict[str, Any]:
        """Add rules that are not there yet; return what the API says of it."""
        made, errors, sent = [], [], 0
        for each in wanted:
            sent += 1
            value, tag = str(each.get("value", "")), str(each.get("tag") or "")
            twin = next((rule for rule in self.all() if (rule.value, rule.tag) == (value, tag)), None)
            if twin is not None:
                errors.append(_error(value, "DuplicateRule", "duplicate-rules", id=twin.id))
                continue
            try:
                if not 0 < len(value) <= LONGEST_RULE:
                    raise BadQuery(f"a rule has 1 to {LONGEST_RULE} characters")
                if len(self) + len(made) >= MOST_RULES:
                    raise BadQuery(f"there are {MOST_RULES} rules already")
                test = compile_query(value)
            except BadQuery as error:
                errors.append(_error(value, "UnprocessableEntity", "invalid-rules", details=[str(error)]))
                continue
            made.append(Rule(str(next(self._ids)), value, tag, test, time.monotonic() + delay_s))
        if not dry_run:
            self._rules |= {rule.id: rule for rule in made}
        invalid = sum(error["title"] != "DuplicateRule" for error in errors)
        summary = {"created": len(made), "not_created": len(errors), "valid": sent - invalid, "invalid": invalid}
        return _answer(made, {"summary": summary}, errors)

    def delete(self, ids: Iterable[str], *, dry_run: bool) -> dict[str, Any]:
        """Delete rules; return what the API says of it."""
        known = [each for each in ids if each in self._rules]
        errors = [_error(each, "Not Found", "resource-not-found") for each in ids if each not in self._rules]
        if not dry_run:
            for each in known:
                del self._rules[each]
        return _answer([], {"summary": {"deleted": len(known), "not_deleted": len(errors)}}, errors)

    def matching(self, post: Post) -> list[Rule]:
        """Return the rules that a post matches."""
        now = time.monotonic()
        return [rule for rule in self._rules.values() if rule.since <= now and rule.test(post)]


def _answer(rules: list[Rule], meta: dict[str, Any], errors: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"meta": {"sent": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), **meta}}
    if rules:
        answer["data"] = [rule.as_json() for rule in rules]
    return answer | ({"errors": errors} if errors else {})


def _error(value: str, title: str, kind: str, **more: object) -> dict[str, Any]:
    return {"value": value, "title": title, "type": f"https://api.twitter.com/2/problems/{kind}", **more}
