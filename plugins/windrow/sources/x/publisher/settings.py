"""Settings of the publisher, from environment variables. .env.example explains each variable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import orjson

from windrow.model.errors import Misconfigured
from windrow.sources.x.streams import LONGEST_QUERY

_REQUIRED = ("X_BEARER_TOKEN", "X_RULES", "X_PROJECT", "MONGO_URL")
_ADVICE = "Set the variable in the environment of the publisher; .env.example explains each variable."


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings."""

    bearer_token: str = field(repr=False)
    rules: Mapping[str, str]
    """The rules of the stream, by tag."""
    project: str
    mongo_url: str = field(repr=False)
    mongo_database: str = "windrow"
    api_url: str = "https://api.x.com"
    topic: str = "x-posts"
    subscription: str = "x-posts"
    """Created with the topic if it does not exist. Empty: the publisher creates neither."""
    usernames: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables.

        :raises Misconfigured: variables are missing (the message has all of them), or one is invalid.
        """
        missing = [name for name in _REQUIRED if not environ.get(name)]
        if missing:
            raise Misconfigured(f"Missing environment variables: {', '.join(missing)}.", advice=_ADVICE)
        api_url = environ.get("X_API_URL") or "https://api.x.com"
        if urlsplit(api_url).scheme not in {"http", "https"} or not urlsplit(api_url).hostname:
            raise Misconfigured("X_API_URL is not a valid URL.", advice="Use a URL like https://api.x.com.")
        usernames = environ.get("X_USERNAMES", "").lower()
        if usernames not in {"", "0", "1", "false", "true"}:
            raise Misconfigured(f"X_USERNAMES is invalid: {usernames!r:.20}.", advice="Set X_USERNAMES to 1 or 0.")
        log_format = environ.get("X_LOG_FORMAT", "")
        if log_format not in {"", "text", "json"}:
            raise Misconfigured(f"X_LOG_FORMAT is invalid: {log_format!r:.20}.", advice="Set it to text or json.")
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
    """Read the rules: one rule as plain text, or a JSON object of rules by tag.

    :raises Misconfigured: a rule is not a string, or is too long for the search.
    """
    try:
        rules = orjson.loads(text) if text.lstrip().startswith("{") else {"x-posts": text.strip()}
    except orjson.JSONDecodeError as error:
        raise Misconfigured(
            f"X_RULES starts with {{ but is not valid JSON: {error}", advice="Fix X_RULES; .env.example has an example."
        ) from None
    for tag, rule in rules.items():
        # the stream accepts 1,024, but then the search could not fill its gaps
        if not isinstance(rule, str) or not 0 < len(rule) <= LONGEST_QUERY:
            raise Misconfigured(
                f"The rule {tag!r} of X_RULES must be a string of 1 to {LONGEST_QUERY} characters.",
                advice='Set one rule, like tesla, or several rules by tag: {"cars": "tesla OR rivian"}.',
            )
    if not rules:
        raise Misconfigured("X_RULES has no rules.", advice=_ADVICE)
    return dict(rules)
