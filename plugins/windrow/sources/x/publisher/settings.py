"""What the environment of the publisher says. .env.example explains each variable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import orjson

from windrow.model.errors import Misconfigured
from windrow.sources.x.streams import LONGEST_QUERY

_REQUIRED = ("X_BEARER_TOKEN", "X_RULES", "X_PROJECT", "MONGO_URL")
_ADVICE = "Set it in the environment of the publisher; .env.example explains each variable."


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings."""

    bearer_token: str = field(repr=False)
    rules: Mapping[str, str]
    """The rules of the stream, each by its tag."""
    project: str
    mongo_url: str = field(repr=False)
    mongo_database: str = "windrow"
    api_url: str = "https://api.x.com"
    topic: str = "x-posts"
    subscription: str = "x-posts"
    """Made with the topic when it is not there; empty: somebody else makes both."""
    usernames: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables.

        :raises Misconfigured: naming every variable that is missing, or the one that cannot be meant.
        """
        missing = [name for name in _REQUIRED if not environ.get(name)]
        if missing:
            raise Misconfigured(f"The environment lacks {', '.join(missing)}.", advice=_ADVICE)
        api_url = environ.get("X_API_URL") or "https://api.x.com"
        if urlsplit(api_url).scheme not in {"http", "https"} or not urlsplit(api_url).hostname:
            raise Misconfigured("X_API_URL is no address.", advice="It should look like https://api.x.com.")
        usernames = environ.get("X_USERNAMES", "").lower()
        if usernames not in {"", "0", "1", "false", "true"}:
            raise Misconfigured(f"X_USERNAMES is {usernames!r:.20}.", advice="It should be 1 or 0.")
        return cls(
            bearer_token=environ["X_BEARER_TOKEN"],
            rules=_rules(environ["X_RULES"]),
            project=environ["X_PROJECT"],
            mongo_url=environ["MONGO_URL"],
            mongo_database=environ.get("MONGO_DATABASE") or "windrow",
            api_url=api_url.rstrip("/"),
            topic=environ.get("X_TOPIC") or "x-posts",
            subscription=environ.get("X_SUBSCRIPTION", "x-posts"),
            usernames=usernames in {"1", "true"},
        )


def _rules(text: str) -> dict[str, str]:
    """Read the rules: one as it is, or a JSON object of rules by their tags.

    :raises Misconfigured: a rule is no text, or longer than the search takes it.
    """
    try:
        rules = orjson.loads(text) if text.lstrip().startswith("{") else {"x-posts": text.strip()}
    except orjson.JSONDecodeError as error:
        raise Misconfigured(f"X_RULES is no JSON: {error}", advice=_ADVICE) from None
    for tag, rule in rules.items():
        # the stream would take 1,024, but then the search could not fill its gaps
        if not isinstance(rule, str) or not 0 < len(rule) <= LONGEST_QUERY:
            raise Misconfigured(
                f"The rule {tag!r} of X_RULES must be a text of 1 to {LONGEST_QUERY} letters.",
                advice='Give one rule, like tesla, or several by their tags: {"cars": "tesla OR rivian"}.',
            )
    if not rules:
        raise Misconfigured("X_RULES holds no rule.", advice=_ADVICE)
    return dict(rules)
